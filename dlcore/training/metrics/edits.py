"""Edit distances between sequences of tokens, and the error rates of what a model writes, speaks or recognizes."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dlcore.data.batch import get_field
from dlcore.ops.arrays import to_integers
from dlcore.training.metrics.averages import Average
from dlcore.training.metrics.places import mask_or_ones


def edit_distance(
    predicted: jax.Array, predicted_lengths: jax.Array, labels: jax.Array, label_lengths: jax.Array
) -> jax.Array:
    """The smallest number of insertions, deletions and substitutions between sequences (Levenshtein 1966).

    With D_0(j) = j it is computed row by row, for each predicted token p_i:

        D_i(j) = min(D_{i-1}(j) + 1,  D_{i-1}(j-1) + [p_i != l_j],  D_i(j-1) + 1)

    Args:
        predicted: integers ``[..., P]``.
        predicted_lengths: integers ``[...]``, the number of valid tokens of each sequence, 0 to P.
        labels: integers ``[..., N]``.
        label_lengths: integers ``[...]``, 0 to N. A length outside of its bounds counts as the nearest one.

    Returns:
        int32 ``[...]``. The axes before the last one are broadcast: ``predicted [B, 1, P]`` and ``labels [B, R, N]``
        give the distances ``[B, R]`` to R references.

    Raises:
        TypeError: an argument is not an array of integers.
        ValueError: tokens have no axis, or the shapes cannot be broadcast.

    If a token ``end`` ends and pads the sequences, ``(tokens != end).sum(-1)`` are their lengths without it.

    >>> kitten, sitting = jnp.array([3, 1, 5, 5, 2, 4, 0]), jnp.array([6, 1, 5, 5, 1, 4, 7])
    >>> int(edit_distance(kitten, jnp.array(6), sitting, jnp.array(7)))
    3
    """
    predicted, labels = _tokens("predicted", predicted), _tokens("labels", labels)
    lengths = _lengths("predicted_lengths", predicted_lengths, predicted)
    label_lengths = _lengths("label_lengths", label_lengths, labels)
    shape = _broadcast(predicted, labels)
    places = jnp.arange(labels.shape[-1] + 1)

    def row(above: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        token, i = step
        kept = jnp.minimum(above[..., 1:] + 1, above[..., :-1] + (token[..., None] != labels))
        reached = jnp.concatenate([jnp.broadcast_to(i + 1, (*shape, 1)), kept], axis=-1)
        # D(j) = min over k <= j of reached(k) + (j - k): insertions after the best place.
        inserted = jax.lax.cummin(reached - places, axis=len(shape)) + places
        return jnp.where((i < lengths)[..., None], inserted, above), None

    start = jnp.broadcast_to(places, (*shape, len(places)))
    steps = jnp.moveaxis(predicted, -1, 0), jnp.arange(predicted.shape[-1])
    last, _ = jax.lax.scan(row, start, steps)
    ends = jnp.broadcast_to(label_lengths, shape)[..., None]
    return jnp.take_along_axis(last, ends, axis=-1)[..., 0]


def token_error_rate(
    predicted: jax.Array,
    predicted_lengths: jax.Array,
    labels: jax.Array,
    label_lengths: jax.Array,
    mask: jax.Array | None = None,
) -> Average:
    """An `Average`: the sum of the edit distances divided by the number of reference tokens; it may exceed 1.

    Its tokens are words for the word error rate of a translation, and phones for the phoneme error rate.

    Args:
        predicted: integers ``[B, P]``.
        predicted_lengths: integers ``[B]``.
        labels: integers ``[B, N]``; or ``[B, R, N]``, R references of each row. The closest one counts, which is the
            one of the fewest edits, and the first of these.
        label_lengths: integers ``[B]`` or ``[B, R]``; -1 where a row has fewer than R references.
        mask: as in `Average.of`; a row without a reference has the weight 0, too.

    Raises:
        TypeError, ValueError: as in `edit_distance`; or the shapes or the mask do not fit.

    >>> predicted, labels = jnp.array([[1, 2, 3]]), jnp.array([[[1, 2, 9, 9], [1, 3, 0, 0]]])
    >>> float(token_error_rate(predicted, jnp.array([3]), labels, jnp.array([[4, 2]])).value())
    0.5
    """
    distances, tokens, weights = _closest(predicted, predicted_lengths, labels, label_lengths, mask)
    return Average((distances * weights).sum(), (tokens * weights).sum())


def exact_match(
    predicted: jax.Array,
    predicted_lengths: jax.Array,
    labels: jax.Array,
    label_lengths: jax.Array,
    mask: jax.Array | None = None,
) -> Average:
    """An `Average`: the share of the rows that are equal to their labels, or to one of their references.

    Args:
        predicted, predicted_lengths, labels, label_lengths, mask: as in `token_error_rate`.

    Raises:
        TypeError, ValueError: as in `token_error_rate`.

    >>> predicted, labels = jnp.array([[1, 2], [1, 2]]), jnp.array([[1, 0], [1, 1]])
    >>> float(exact_match(predicted, jnp.array([1, 2]), labels, jnp.array([1, 2])).value())
    0.5
    """
    distances, _, weights = _closest(predicted, predicted_lengths, labels, label_lengths, mask)
    return Average(((distances == 0) * weights).sum(), weights.sum())


def sequence_error_rate(
    predicted: jax.Array,
    predicted_lengths: jax.Array,
    labels: jax.Array,
    label_lengths: jax.Array,
    mask: jax.Array | None = None,
) -> Average:
    """An `Average`, one minus `exact_match`: the share of the rows that differ from all their references.

    It is the sentence error rate of translations, and the word error rate of a list of pronounced words.

    Args:
        predicted, predicted_lengths, labels, label_lengths, mask: as in `token_error_rate`.

    Raises:
        TypeError, ValueError: as in `token_error_rate`.
    """
    right = exact_match(predicted, predicted_lengths, labels, label_lengths, mask)
    return right._replace(total=right.weight - right.total)


def error_rates(
    predicted: jax.Array,
    predicted_lengths: jax.Array,
    batch: Mapping[str, jax.Array],
    names: tuple[str, str] = ("token_error_rate", "sequence_error_rate"),
) -> dict[str, Average]:
    """Both error rates for the references of a batch, for ``eval_metrics`` of an experiment.

    Args:
        predicted: integers ``[B, P]``.
        predicted_lengths: integers ``[B]``.
        batch: has ``references [B, R, N]`` and ``reference_lengths [B, R]``, and may have a ``mask [B]``; see
            `token_error_rate`.
        names: what the two metrics are called.

    Returns:
        A dict of the `token_error_rate` and the `sequence_error_rate`.

    Raises:
        TypeError, ValueError: as in `token_error_rate`; or the batch lacks a field.
    """
    if not isinstance(names, list | tuple) or len(names) != 2:
        raise TypeError(f"names: got {names!r}, expected a pair of names")
    known = get_field(batch, "references"), get_field(batch, "reference_lengths"), batch.get("mask")
    rates = (rate(predicted, predicted_lengths, *known) for rate in (token_error_rate, sequence_error_rate))
    return dict(zip(names, rates, strict=True))


def _closest(
    predicted: jax.Array,
    predicted_lengths: jax.Array,
    labels: jax.Array,
    label_lengths: jax.Array,
    mask: jax.Array | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The distance ``[B]`` to the closest reference, the number ``[B]`` of its tokens, and the weights ``[B]``."""
    predicted, labels = _tokens("predicted", predicted), _tokens("labels", labels)
    if predicted.ndim != 2 or labels.ndim not in (2, 3):
        raise ValueError(
            f"labels: got {labels.shape} for predicted of shape {predicted.shape}, expected [B, N] or [B, R, N] and "
            "[B, P]"
        )
    counts = to_integers("label_lengths", label_lengths)
    predicted_lengths = to_integers("predicted_lengths", predicted_lengths)
    if labels.ndim == 2:
        labels, counts = labels[:, None], counts[..., None]
    if counts.shape != labels.shape[:2] or predicted_lengths.shape != predicted.shape[:1]:
        raise ValueError(
            f"label_lengths: got {counts.shape} for {labels.shape[1]} references a row and predicted_lengths of shape "
            f"{predicted_lengths.shape}, expected one for each reference and each of {len(predicted)} rows"
        )
    distances = edit_distance(predicted[:, None], predicted_lengths[:, None], labels, counts)
    known = counts >= 0
    best = jnp.where(known, distances, jnp.iinfo(jnp.int32).max).argmin(axis=1)[:, None]
    weights = mask_or_ones(mask, (len(predicted),)) * known.any(axis=1)
    pick = lambda numbers: jnp.take_along_axis(jnp.maximum(numbers, 0), best, axis=1)[:, 0]
    return pick(distances), pick(counts), weights


def _tokens(name: str, tokens: jax.Array) -> jax.Array:
    known = to_integers(name, tokens)
    if not known.ndim:
        raise ValueError(f"{name}: got shape (), expected tokens [..., n]")
    return known


def _lengths(name: str, lengths: jax.Array, tokens: jax.Array) -> jax.Array:
    """The lengths, within 0 to the number of tokens; ValueError if their shape is another one."""
    known = to_integers(name, lengths)
    if known.shape != tokens.shape[:-1]:
        raise ValueError(f"{name}: got {known.shape} for tokens {tokens.shape}, expected {tokens.shape[:-1]}")
    return jnp.clip(known, 0, tokens.shape[-1])


def _broadcast(predicted: jax.Array, labels: jax.Array) -> tuple[int, ...]:
    try:
        return jnp.broadcast_shapes(predicted.shape[:-1], labels.shape[:-1])
    except ValueError as error:
        raise ValueError(
            f"labels: got {labels.shape} for predicted of shape {predicted.shape}, expected axes before the last one "
            "that can be broadcast"
        ) from error
