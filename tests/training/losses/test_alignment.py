"""CTC, against the sum over all paths and torch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.losses import ctc

ROWS, FRAMES, CLASSES, LABELS = 8, 4, 3, 3
GENERATOR = np.random.default_rng(0)
LOGITS = (GENERATOR.normal(size=(ROWS, FRAMES, CLASSES)) * 2).astype(np.float32)
LOGITS[7, :, 2] = -np.inf  # a class that row 7 needs
SPELLED = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 2, 2], [1, 0, 2], [0, 0, 1], [2, 0, 0]])
LENGTHS = np.array([4, 3, 3, 0, 0, 3, 4, 4], np.int8)
COUNTS = np.array([3, 2, 3, 0, 2, 1, 0, 1], np.uint8)
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0], np.float32)
run = jax.jit(jax.value_and_grad(ctc, has_aux=True), static_argnames=("blank", "zero_infinity"))
value = jax.jit(ctc)


def cost(logits, labels, blank):
    """-log of the summed probabilities of all paths that collapse to the labels."""
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities /= probabilities.sum(-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(CLASSES), repeat=len(logits)):
        if [symbol for symbol, _ in itertools.groupby(path) if symbol != blank] == list(labels):
            total += np.prod([probabilities[frame, symbol] for frame, symbol in enumerate(path)])
    with np.errstate(divide="ignore"):
        return -np.log(total)


@pytest.mark.parametrize("blank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_costs_equal_the_sum_over_all_paths(blank):
    """Rows 2 and 4 do not fit into their frames; padding of frames and labels holds anything."""
    labels = np.array([[symbol for symbol in range(CLASSES) if symbol != blank] + [blank]])[0][SPELLED]
    labels = np.where(labels == blank, labels[0, 0], labels)
    expected = np.array(
        [
            cost(np.float64(row[:frames]), spelled[:count], blank)
            for row, spelled, frames, count in zip(LOGITS, labels, LENGTHS, COUNTS, strict=True)
        ]
    )
    impossible = np.isinf(expected)
    assert impossible.sum() >= 2
    mean = (WEIGHTS * np.where(impossible, 0, expected)).sum() / WEIGHTS.sum()
    valid = (np.arange(FRAMES) < LENGTHS[:, None])[..., None]
    batch = {
        "labels": np.where(np.arange(LABELS) < COUNTS[:, None], labels, -7),
        "label_lengths": COUNTS,
        "lengths": LENGTHS,
        "mask": WEIGHTS,
    }
    logits = np.where(valid, LOGITS, np.nan)
    (loss, measured), gradient = run(logits, batch, blank=blank, zero_infinity=True)
    assert float(loss) == pytest.approx(mean, rel=1e-5)
    assert float(measured["impossible"].value()) == pytest.approx(
        (WEIGHTS * impossible).sum() / WEIGHTS.sum()
    )
    assert np.isfinite(gradient).all()
    assert not gradient[impossible].any()
    assert not gradient[~np.broadcast_to(valid, gradient.shape)].any()
    if blank == 0:  # to compile less
        assert float(ctc(logits, batch)[0]) == np.inf
        loss, _ = ctc(logits, {**batch, "mask": ~impossible})
        assert float(loss) == pytest.approx(expected[~impossible].mean(), rel=1e-5)


def test_labels_that_are_no_class_make_the_loss_nan():
    for bad in (0, 3, -1):
        for mask, expected in ((np.array([True, True]), False), (np.array([True, False]), True)):
            loss, _ = value(LOGITS[:2], {"labels": np.array([[1], [bad]]), "mask": mask})
            assert np.isfinite(loss) == expected


def test_no_frames_no_labels_and_no_rows():
    def loss(frames, labels, rows=2):
        return float(value(np.zeros((rows, frames, 3)), {"labels": np.ones((rows, labels), int)})[0])

    assert loss(0, 0) == 0
    assert loss(0, 1) == np.inf
    assert loss(2, 0) == pytest.approx(2 * np.log(3), rel=1e-6)
    assert loss(2, 1, rows=0) == 0


@pytest.mark.slow
def test_costs_and_gradients_equal_torchs():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(6, 30, 7)) * 3, generator.integers(1, 7, (6, 10))
    labels[0] = 3  # needs blanks between its labels
    lengths, counts = np.array([30, 12, 0, 0, 11, 30]), np.array([10, 5, 0, 2, 10, 1])
    given = torch.tensor(np.moveaxis(logits, 0, 1), requires_grad=True)
    arguments = map(torch.tensor, (labels, lengths, counts))
    costs = torch.nn.functional.ctc_loss(
        given.log_softmax(-1), *arguments, reduction="none", zero_infinity=True
    )
    costs.mean().backward()
    with jax.enable_x64(True):
        batch = {"labels": labels, "label_lengths": counts, "lengths": lengths}
        loss = lambda logits: ctc(logits, batch, zero_infinity=True)[0]
        mean, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(logits))
    assert float(mean) == pytest.approx(costs.mean().item(), rel=1e-13)
    np.testing.assert_allclose(np.moveaxis(gradient, 0, 1), given.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("logits", "batch", "options", "error", "message"),
    [
        (
            np.zeros((2, 3)),
            {"labels": np.ones((2, 1), int)},
            {},
            ValueError,
            r"logits: got \(2, 3\) for labels",
        ),
        (LOGITS[:2], {"labels": np.ones(2, int)}, {}, ValueError, r"logits: got \(2, 4, 3\) for labels"),
        (LOGITS[:2], {"labels": np.ones((2, 1))}, {}, TypeError, "labels: got float32"),
        (
            LOGITS[:2],
            {"labels": np.ones((2, 1), int)},
            {"blank": 3},
            ValueError,
            "blank: got 3, .* from 0 to 2",
        ),
        (
            LOGITS[:2],
            {"labels": np.ones((2, 1), int), "label_lengths": np.array([0, 2])},
            {},
            ValueError,
            "label_lengths: got 2 in row 1, expected 0 to 1",
        ),
        (
            LOGITS[:2],
            {"labels": np.ones((2, 1), int), "mask": np.ones((2, 4), bool)},
            {},
            ValueError,
            r"mask: got shape \(2, 4\) for values of shape \(2,\)",
        ),
        (
            LOGITS[:2],
            {"labels": np.ones((2, 1), int), "inputs": np.ones((2, 9, 1)), "lengths": np.array([9, 9])},
            {},
            ValueError,
            r"lengths: got those of inputs \(2, 9, 1\)",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(logits, batch, options, error, message):
    with pytest.raises(error, match=message):
        ctc(logits, batch, **options)
