"""Parameters that the devices of the data axis split (FSDP), and that each of them has whole while it computes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dlcore.training.experiment import Experiment, Params
from dlcore.training.mesh import MeshConfig, parameter_specs

SPLIT = MeshConfig(parameters="sharded")


def computed_on(mesh: Mesh, config: MeshConfig, experiment: Experiment) -> Experiment:
    """The experiment whose functions the devices compute: with `with_whole_parameters` if they split the parameters.

    Args:
        mesh: the mesh.
        config: its ``parameters`` says where the parameters are.
        experiment: the experiment.
    """
    if config.parameters != SPLIT.parameters:
        return experiment
    evaluated = experiment.eval_metrics
    return dataclasses.replace(
        experiment,
        loss=with_whole_parameters(experiment.loss, mesh),
        eval_metrics=None if evaluated is None else with_whole_parameters(evaluated, mesh),
    )


def with_whole_parameters(called: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """A function whose first argument, the parameters, is split; it gathers all of them before it begins.

    XLA alone gathers a parameter where it is used: that of a recurrent layer again in every time step. The gradient is
    split as the parameters are, so that its sum over the devices is, too.

    Args:
        called: the function, such as a loss function.
        mesh: the mesh.
    """
    whole = NamedSharding(mesh, PartitionSpec())

    @jax.custom_vjp
    def gather(params: Params) -> Params:
        return jax.lax.with_sharding_constraint(params, whole)

    def split(_: None, grads: Params) -> tuple[Params]:
        place = lambda leaf, spec: jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))
        return (jax.tree.map(place, grads, parameter_specs(grads, mesh, SPLIT, {})),)

    gather.defvjp(lambda params: (gather(params), None), split)
    return lambda params, *arguments: called(gather(params), *arguments)
