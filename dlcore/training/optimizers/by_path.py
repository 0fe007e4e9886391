"""Different treatment of parameters by their paths: other transformations, other learning rates, or none at all."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from dlcore.training.optimizers.config import PathFactor
from dlcore.utils.checks import check_instance
from dlcore.utils.patterns import check_pattern, first_matches
from dlcore.utils.trees import named_leaves


def by_path(transformations: Mapping[str, optax.GradientTransformation]) -> optax.GradientTransformation:
    """A transformation that updates each parameter with the transformation of the first pattern found in its path.

    It is ``optax.partition`` with the patterns as labels. Paths are such as ``encoder/lstm/recurrent_kernel``, and a
    pattern is found anywhere in a path (``re.search``): ``^encoder/`` is the beginning.

    Args:
        transformations: regular expression -> optax transformation; ``optax.set_to_zero()`` freezes parameters.

    Returns:
        The transformation. Its ``init`` and ``update`` raise ValueError if a parameter has no pattern, or a pattern is
        not the first match of any parameter.

    Raises:
        TypeError: ``transformations`` is no dict of optax transformations by text.
        ValueError: it is empty, or a text is no regular expression.

    >>> optimizer = by_path({"^encoder/": optax.set_to_zero(), ".*": optax.sgd(0.5)})
    >>> params = {"encoder": {"kernel": 1.0}, "head": {"kernel": 1.0}}
    >>> updates, _ = optimizer.update(params, optimizer.init(params))
    >>> float(updates["encoder"]["kernel"]), float(updates["head"]["kernel"])
    (0.0, -0.5)
    """
    expected = 'a dict such as {"^encoder/": optax.set_to_zero(), ".*": optax.adam(1e-3)}'
    check_instance("transformations", transformations, Mapping, expected)
    if not transformations:
        raise ValueError(f"transformations: got {{}}, expected {expected}")
    for pattern, transformation in transformations.items():
        check_instance("transformations", pattern, str, "regular expressions")
        check_pattern("transformations", pattern)
        name = f"transformations[{pattern!r}]"
        check_instance(name, transformation, optax.GradientTransformation, "an optax transformation")

    def labels(params: optax.Params) -> Any:
        found = first_matches("transformations", transformations, named_leaves(params))
        for path, pattern in found.items():
            if pattern is None:
                raise ValueError(
                    f'transformations: got none for the parameter {path}; add one, or ".*" at the end'
                )
        return jax.tree.unflatten(jax.tree.structure(params), list(found.values()))

    return optax.partition(dict(transformations), labels)


def freeze(optimizer: optax.GradientTransformation, patterns: Sequence[str]) -> optax.GradientTransformation:
    """A transformation that does not see the parameters in whose paths a pattern is found, and leaves them unchanged.

    It holds no state for them.

    Args:
        optimizer: the transformation of all other parameters.
        patterns: regular expressions; if there is none, the optimizer itself is returned.

    Returns:
        The transformation. Its ``init`` and ``update`` raise ValueError if a pattern is not the first match of any
        parameter, or no parameter is left.
    """
    if not patterns:
        return optimizer

    def is_frozen(params: optax.Params) -> Any:
        found = list(first_matches("frozen", patterns, named_leaves(params)).values())
        if None not in found:
            raise ValueError(
                f"frozen: got {tuple(patterns)}, which finds every parameter; expected some to train"
            )
        return jax.tree.unflatten(jax.tree.structure(params), [pattern is not None for pattern in found])

    def is_trained(params: optax.Params) -> Any:
        return jax.tree.map(lambda frozen: not frozen, is_frozen(params))

    return optax.chain(optax.masked(optimizer, is_trained), optax.masked(optax.set_to_zero(), is_frozen))


def scale_rates(rates: Sequence[PathFactor]) -> optax.GradientTransformation:
    """A transformation that multiplies the update of each parameter by the factor of the first pattern in its path.

    The factor is 1 where there is none. In an update of dlcore's rules the learning rate is a factor, so this
    multiplies the learning rate.

    Args:
        rates: patterns and factors.

    Returns:
        The transformation; its ``init`` and ``update`` raise ValueError if a pattern is not the first match of any
        parameter.

    Raises:
        ValueError: a pattern is given twice.
    """
    factors = {rate.pattern: rate.factor for rate in rates}
    if len(factors) < len(rates):
        raise ValueError(f"rates: got {tuple(rates)}, expected each pattern once")

    def init(params: optax.Params) -> optax.EmptyState:
        first_matches("rates", factors, named_leaves(params))
        return optax.EmptyState()

    def update(
        updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.EmptyState]:
        found = first_matches("rates", factors, named_leaves(updates)).values()
        scaled = [
            leaf if pattern is None else factors[pattern] * leaf
            for leaf, pattern in zip(jax.tree.leaves(updates), found, strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(updates), scaled), state

    return optax.GradientTransformation(init, update)
