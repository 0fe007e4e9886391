"""Placement on devices: the mesh, and which part of the state and of a batch each device holds."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dlcore.config.settings import Settings, setting
from dlcore.training.targets.target import Target
from dlcore.utils.checks import check_instance
from dlcore.utils.patterns import check_pattern, first_matches
from dlcore.utils.trees import named_leaves

DATA, MODEL = "data", "model"

ShardingRules: TypeAlias = Mapping[str, tuple[str | None, ...]]
"""A regular expression on a parameter's path -> the mesh axis (or None) of each of its dimensions."""


@dataclass
class MeshConfig(Settings):
    """How the devices share the work."""

    data: int | None = setting(
        None,
        "Number of shards of a batch; none: as many as the devices allow beside model.",
        minimum=1,
        may_change=True,
    )
    model: int = setting(
        1, "Number of devices over which sharding rules can split parameters.", minimum=1, may_change=True
    )
    parameters: Literal["replicated", "sharded", "by_rules"] = setting(
        "replicated",
        "Where the parameters are. replicated: each device holds all of them. sharded: the devices of the data axis "
        "split them (FSDP). by_rules: the experiment's sharding_rules split them.",
        may_change=True,
    )


def make_mesh(config: MeshConfig, target: Target | None = None) -> Mesh:
    """A ``jax.sharding.Mesh``: the devices as a grid of ``data`` x ``model``, which are also the names of its axes.

    A job of one process may leave devices of this machine idle.

    Args:
        config: the sizes of the grid.
        target: the machine whose devices they are; None: this one.

    Raises:
        ValueError: there are too few devices, or some would be idle in a job of several processes or on a target.
    """
    devices = jax.devices() if target is None else target.devices
    data = config.data or len(devices) // config.model
    used, all_used = data * config.model, target is not None or jax.process_count() > 1
    if not 0 < used <= len(devices) or (used < len(devices) and all_used):
        mend = (
            "a run may continue with another mesh, and JAX_NUM_CPU_DEVICES=N in the environment makes N devices of a "
            "CPU"
            if target is None
            else "choose a mesh of all its devices, or another target"
        )
        raise ValueError(
            f"--config.mesh.data: got {config.data or 'none'} with --config.mesh.model={config.model}, expected a "
            f"product of {'' if all_used else 'at most '}{len(devices)}, the number of devices"
            f"{'' if target is None else f' of --target={target.name}'}; {mend}"
        )
    grid = mesh_utils.create_device_mesh((data, config.model), devices[:used], allow_split_physical_axes=True)
    return Mesh(rows_by_process(grid), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2)


def rows_by_process(grid: np.ndarray) -> np.ndarray:
    """The same grid of devices with the rows of each process side by side, since it loads them together.

    JAX lays a grid along the wires between TPUs, which lead to and fro between their hosts.
    """
    return np.array(sorted(grid, key=lambda row: row[0].process_index))


def parameter_specs(params: Any, mesh: Mesh, config: MeshConfig, rules: ShardingRules) -> Any:
    """A tree with the structure of ``params`` and one PartitionSpec for each parameter, which says how it is split.

    ``replicated`` splits nothing. ``sharded`` splits the largest dimension that the data axis divides; a parameter
    without such a dimension is not split. ``by_rules`` uses the first rule whose expression is found (``re.search``)
    in the parameter's path, such as ``encoder/lstm/recurrent_kernel``.

    Args:
        params: a tree of arrays, or of anything with a ``shape``.
        mesh: the mesh.
        config: its ``parameters`` chooses one of the three ways.
        rules: the rules for ``by_rules``, see `ShardingRules`.

    Raises:
        ValueError: with ``by_rules``: there is no rule, a rule is not the first match of any parameter, a parameter
            matches no rule, or a rule does not fit its parameter's shape or the mesh; or as in `check_rules`.
        TypeError: as in `check_rules`.

    >>> mesh = jax.make_mesh((1, 1), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2)
    >>> params = {"lstm": {"recurrent_kernel": np.zeros((4, 16)), "bias": np.zeros(16)}}
    >>> rules = {"recurrent_kernel": (None, "model"), ".*": ()}
    >>> tuple(parameter_specs(params, mesh, MeshConfig(parameters="by_rules"), rules)["lstm"]["recurrent_kernel"])
    (None, 'model')
    """
    if config.parameters == "replicated":
        return jax.tree.map(lambda _: PartitionSpec(), params)
    if config.parameters == "sharded":
        return jax.tree.map(lambda leaf: _split_largest(leaf.shape, mesh.shape[DATA]), params)
    if not rules:
        raise ValueError(
            "--config.mesh.parameters: got by_rules, but the experiment has no sharding_rules; expected replicated "
            "or sharded"
        )
    check_rules(rules)
    named = named_leaves(params)
    found = first_matches("sharding_rules", rules, named)
    specs = [_make_spec(rules, rule, name, named[name].shape, mesh) for name, rule in found.items()]
    return jax.tree.unflatten(jax.tree.structure(params), specs)


def check_rules(rules: ShardingRules) -> None:
    """Checks the types of sharding rules, whatever the model.

    Raises:
        TypeError: they are not a dict of tuples by text.
        ValueError: a text is no regular expression.
    """
    check_instance("sharding_rules", rules, Mapping, 'a dict such as {"recurrent_kernel": (None, "model")}')
    for rule, axes in rules.items():
        check_instance("sharding_rules", rule, str, "regular expressions")
        check_instance(f"sharding_rules[{rule!r}]", axes, tuple, 'a tuple such as (None, "model")')
        check_pattern("sharding_rules", rule)


def _make_spec(
    rules: ShardingRules, rule: str | None, name: str, shape: tuple[int, ...], mesh: Mesh
) -> PartitionSpec:
    """The rule's axes as a PartitionSpec; ValueError if they do not fit the parameter's shape and the mesh."""
    if rule is None:
        raise ValueError(
            f'sharding_rules: got none for the parameter {name} {shape}; add one, or ".*": () at the end'
        )
    axes = rules[rule]
    used = [axis for axis in axes if axis is not None]
    fits = (
        len(axes) <= len(shape)
        and len(used) == len(set(used))
        and all(
            axis is None or (axis in mesh.shape and size % mesh.shape[axis] == 0)
            for axis, size in zip(axes, shape, strict=False)
        )
    )
    if not fits:
        raise ValueError(
            f"sharding_rules: got {axes!r} from {rule!r} for {name} {shape}, expected a tuple of at most {len(shape)} "
            f"of '{DATA}', '{MODEL}' (each once) and None, each dividing its dimension on the mesh {dict(mesh.shape)}"
        )
    return PartitionSpec(*axes)


def _split_largest(shape: tuple[int, ...], shards: int) -> PartitionSpec:
    """The largest dimension that ``shards`` divides is split; a shape without such a dimension is replicated."""
    divisible = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if not divisible:
        return PartitionSpec()
    largest = max(divisible, key=lambda axis: shape[axis])
    return PartitionSpec(*[None] * largest, DATA)


def state_shardings(state: Any, mesh: Mesh, specs: Any) -> Any:
    """A `TrainState` with one NamedSharding for each leaf of ``state``.

    What the state holds for a parameter (its moving average, its optimizer moments) is split like the parameter;
    every other leaf is replicated. A leaf of the optimizer state is a parameter's if its path ends in that of the
    parameter and it has the same shape, whatever optimizer made the state.

    Args:
        state: a `TrainState` of arrays or of ``jax.ShapeDtypeStruct``.
        mesh: the mesh.
        specs: the PartitionSpecs from `parameter_specs`.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    split = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda leaf: isinstance(leaf, PartitionSpec)
    )
    return jax.tree.map(lambda _: replicated, state).replace(
        params=split,
        average=None if state.average is None else split,
        opt_state=_split_like(state.params, split, state.opt_state, replicated),
    )


def _split_like(params: Any, shardings: Any, opt_state: Any, otherwise: NamedSharding) -> Any:
    """The sharding of each leaf of the optimizer state: that of the parameter with the longest fitting path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    known = {
        (path, tuple(leaf.shape)): sharding
        for (path, leaf), sharding in zip(flat, jax.tree.leaves(shardings), strict=True)
    }

    def find(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        ends = ((path[start:], tuple(leaf.shape)) for start in range(len(path) + 1))
        return next((known[end] for end in ends if end in known), otherwise)

    return jax.tree_util.tree_map_with_path(find, opt_state)


def process_rows(mesh: Mesh, batch_size: int) -> tuple[int, int]:
    """The pair (start, stop): this process has to load the rows ``start`` to ``stop - 1`` of a batch.

    Raises:
        ValueError: the data axis does not divide the batch, or the rows on this process's devices are not
            contiguous.
    """
    if batch_size % mesh.shape[DATA]:
        raise ValueError(
            f"batch_size: got {batch_size}, expected a multiple of {mesh.shape[DATA]}, the size of the mesh's data axis"
        )
    shards = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    spans = sorted({shard[0].indices(batch_size)[:2] for shard in shards if shard is not None})
    if any(stop != start for (_, stop), (start, _) in itertools.pairwise(spans)):
        raise ValueError(f"mesh: got a process with the rows {spans}, expected contiguous rows")
    return spans[0][0], spans[-1][1]


def batch_sharding(mesh: Mesh, *, stacked: bool = False) -> NamedSharding:
    """The sharding of a batch: its rows are split over the data axis.

    Args:
        mesh: the mesh.
        stacked: True if the arrays have an axis of steps before the axis of rows.
    """
    return NamedSharding(mesh, PartitionSpec(*[None] * stacked, DATA))


def place_batch(batch: Mapping[str, Any], mesh: Mesh, *, stacked: bool = False) -> Mapping[str, Any]:
    """A batch on its devices, made from the rows that each process loaded (see `process_rows`): a dict of arrays.

    Args:
        batch: the rows of this process: arrays ``[rows, ...]`` by name, or ``[steps, rows, ...]`` if stacked.
        mesh: the mesh.
        stacked: as in `batch_sharding`.
    """
    sharding = batch_sharding(mesh, stacked=stacked)
    if jax.process_count() == 1:
        return jax.device_put(dict(batch), sharding)
    # The loop forbids implicit transfers to the device, and JAX counts this explicit one among them.
    with jax.transfer_guard_host_to_device("allow"):
        return {
            name: jax.make_array_from_process_local_data(sharding, np.asarray(array))
            for name, array in batch.items()
        }
