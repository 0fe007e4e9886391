"""The cross-entropy of classes, against NumPy in float64 and torch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training.losses import classification

classify = jax.jit(classification, static_argnames=("label_smoothing", "ignore_index"))
differentiate = jax.jit(jax.value_and_grad(classification, has_aux=True), static_argnames="label_smoothing")


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
def test_cross_entropy_equals_its_definition(smoothing, masked):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(6, 4)) * 5, generator.integers(0, 4, 6)
    mask = np.arange(6) < 4 if masked else np.ones(6, bool)
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.eye(4)[labels] * (1 - smoothing) + smoothing / 4
    expected = -(target * log_softmax).sum(-1)[mask].mean()
    batch = {"labels": labels, **({"mask": jnp.asarray(mask)} if masked else {})}
    loss, metrics = classify(jnp.asarray(logits, jnp.float32), batch, label_smoothing=smoothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["loss"].value()) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"].value()) == pytest.approx((logits.argmax(-1) == labels)[mask].mean())


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_outside_of_the_classes_makes_the_loss_nan_unless_masked(label):
    logits, labels = jnp.ones((2, 4)), jnp.array([0, label])
    assert np.isnan(classify(logits, {"labels": labels})[0])
    mask = jnp.array([True, False])
    assert np.isfinite(classify(logits, {"labels": labels, "mask": mask})[0])


@pytest.mark.parametrize("shapes", [((6, 2, 4), (6,)), ((6, 4), (5,)), ((6, 4), (6, 1))])
def test_logits_that_do_not_fit_the_labels_are_refused(shapes):
    with pytest.raises(ValueError, match="logits: got"):
        classification(jnp.ones(shapes[0]), {"labels": jnp.zeros(shapes[1], int)})


@pytest.mark.parametrize("mask", [None, [True, False, True], [[True, True], [False, True], [False, False]]])
def test_every_valid_label_of_a_sequence_has_the_same_weight(mask):
    """Equals the loss of the same labels in a flat batch; the mask leaves out rows or single labels."""
    generator = np.random.default_rng(1)
    logits = jnp.asarray(generator.normal(size=(3, 2, 4)), jnp.float32)
    labels = jnp.asarray(generator.integers(0, 4, (3, 2)))
    flat, batch = {"labels": labels.ravel()}, {"labels": labels}
    if mask is not None:
        batch["mask"] = jnp.array(mask)
        rows = batch["mask"] if batch["mask"].ndim == 2 else jnp.repeat(batch["mask"], 2)
        flat["mask"] = rows.ravel()
    expected, expected_metrics = classify(logits.reshape(6, 4), flat)
    loss, metrics = classify(logits, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    for name, metric in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], metric, rtol=1e-6)


def test_bfloat16_logits_are_reduced_in_float32():
    """The sum of 1000 terms in bfloat16 would stop growing at 256."""
    loss, _ = classify(jnp.zeros((1000, 2), jnp.bfloat16), {"labels": jnp.zeros(1000, int)})
    assert (loss.dtype, float(loss)) == (jnp.float32, pytest.approx(np.log(2), rel=1e-6))


def test_a_mask_hides_nan():
    logits, labels = np.array([[2.0, 0.0], [np.nan, np.nan]], np.float32), np.array([0, 0])
    loss, measured = classify(jnp.asarray(logits), {"labels": labels, "mask": np.array([True, False])})
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-2)), rel=1e-6)
    assert float(measured["accuracy"].value()) == 1


def test_steps_after_the_end_of_a_row_do_not_count_in_a_classification():
    """Equals the loss of the valid labels in a flat batch."""
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(3, 4, 5)).astype(np.float32), generator.integers(0, 5, (3, 4))
    lengths = np.array([4, 0, 2])
    valid = np.arange(4) < lengths[:, None]
    expected, expected_metrics = classify(logits[valid], {"labels": labels[valid]})
    padded = np.where(valid[..., None], logits, np.nan)
    batch = {"inputs": np.ones((3, 4, 2)), "labels": np.where(valid, labels, -7), "lengths": lengths}
    loss, measured = classify(padded, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    for name, metric in expected_metrics.items():
        np.testing.assert_allclose(measured[name], metric, rtol=1e-6)
    gradient = jax.jit(jax.grad(lambda logits: classification(logits, batch)[0]))(padded)
    assert np.isfinite(gradient).all()
    assert not gradient[~valid].any()


def test_float_masks_are_weights():
    logits, labels = jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([0, 1])
    costs = [float(classify(logits[row : row + 1], {"labels": labels[row : row + 1]})[0]) for row in (0, 1)]
    loss, measured = classify(logits, {"labels": labels, "mask": jnp.array([0.5, 2.0])})
    assert float(loss) == pytest.approx((0.5 * costs[0] + 2 * costs[1]) / 2.5, rel=1e-6)
    assert float(measured["loss"].weight) == 2.5
    assert float(measured["accuracy"].value()) == 0


def test_a_class_that_is_ruled_out_adds_nothing_to_the_loss():
    (value, _), gradient = differentiate(jnp.array([[0.0, 1.0, -jnp.inf]]), {"labels": jnp.array([1])})
    assert float(value) == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-6)  # .3133
    expected = 1 / (1 + np.e)
    np.testing.assert_allclose(gradient, [[expected, -expected, 0]], rtol=1e-6)


def test_label_smoothing_spreads_over_the_classes_that_are_not_ruled_out():
    logits, batch = jnp.array([[0.0, 1.0, -jnp.inf]]), {"labels": jnp.array([1])}
    smooth = lambda logits: classification(logits, batch, label_smoothing=0.2)[0]
    two_classes = lambda logits: optax.softmax_cross_entropy(logits, jnp.array([[0.1, 0.9]])).mean()
    value, gradient = jax.value_and_grad(smooth)(logits)
    expected, expected_gradient = jax.value_and_grad(two_classes)(logits[:, :2])
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient, np.pad(expected_gradient, ((0, 0), (0, 1))), rtol=1e-6)


def test_a_label_that_is_ruled_out_has_an_infinite_loss():
    loss, _ = classify(jnp.array([[0.0, -jnp.inf]]), {"labels": jnp.array([1])})
    assert float(loss) == np.inf


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_masked_rows_of_nan_have_the_gradient_0(smoothing):
    logits = jnp.array([[2.0, 0.0], [jnp.nan, jnp.nan]])
    batch = {"labels": jnp.array([0, 0]), "mask": jnp.array([True, False])}
    _, gradient = differentiate(logits, batch, label_smoothing=smoothing)
    _, expected = differentiate(logits[:1], {"labels": jnp.array([0])}, label_smoothing=smoothing)
    np.testing.assert_allclose(gradient, [*expected, [0, 0]], rtol=1e-6)


INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("transform", [lambda function: function, jax.jit])
def test_labels_of_every_integer_type_give_the_same_loss(dtype, transform):
    """256 classes do not fit into uint8, though every label does."""
    labels = np.array([0, 100, 127] if dtype == "int8" else [0, 200, 255])
    logits = np.random.default_rng(0).normal(size=(3, 256)).astype(np.float32)
    expected, expected_metrics = classify(logits, {"labels": labels})
    loss, measured = transform(classification)(logits, {"labels": labels.astype(dtype)})
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(measured["accuracy"], expected_metrics["accuracy"])


WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0], np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_weight_the_terms_and_the_mean(smoothing):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(6, 3, 4)) * 3, generator.integers(0, 4, (6, 3))
    mask = generator.uniform(0, 2, 6).astype(np.float32)
    log_softmax = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = weight = right = 0.0
    for place in np.ndindex(6, 3):
        label, one = labels[place], mask[place[0]]
        target = (1 - smoothing) * np.eye(4)[label] + smoothing / 4
        if WEIGHTS[label]:
            total -= one * (WEIGHTS * target * log_softmax[place]).sum()
        weight += one * WEIGHTS[label]
        right += one * (logits[place].argmax() == label)
    batch = {"labels": labels, "mask": mask}
    loss, measured = classify(logits, batch, label_smoothing=smoothing, class_weights=WEIGHTS)
    assert float(loss) == pytest.approx(total / weight, rel=1e-5)
    assert float(measured["loss"].weight) == pytest.approx(weight, rel=1e-6)
    assert float(measured["accuracy"].total) == pytest.approx(right, rel=1e-6)
    assert float(measured["accuracy"].weight) == pytest.approx(3 * mask.sum(), rel=1e-6)


def test_labels_that_are_ignored_do_not_count():
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    batch = {"labels": np.array([0, -100, 2, -100]), "mask": np.array([True, True, True, False])}
    expected, expected_metrics = classify(logits, {**batch, "mask": np.array([True, False, True, False])})
    logits[1] = np.nan
    loss, measured = classify(logits, batch, ignore_index=-100)
    assert float(loss) == float(expected)
    np.testing.assert_array_equal(measured["accuracy"], expected_metrics["accuracy"])
    assert np.isnan(classify(logits, batch)[0])


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_class_weights_smoothing_and_ignored_labels_equal_torchs(smoothing):
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(5, 7, 4)), generator.integers(0, 4, (5, 7))
    labels[2, 3:], weights = -100, generator.uniform(0.5, 2, 4)
    theirs = torch.nn.CrossEntropyLoss(torch.tensor(weights), ignore_index=-100, label_smoothing=smoothing)
    given = torch.tensor(logits.reshape(-1, 4), requires_grad=True)
    expected = theirs(given, torch.tensor(labels.ravel()))
    expected.backward()
    with jax.enable_x64(True):
        options = {"class_weights": weights, "ignore_index": -100, "label_smoothing": smoothing}
        loss = lambda logits: classification(logits, {"labels": labels}, **options)[0]
        value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(logits))
    assert float(value) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(gradient.reshape(-1, 4), given.grad, rtol=1e-10, atol=1e-14)


BAD_CALLS = {
    "no labels": (
        lambda: classification(jnp.ones((2, 3)), {"inputs": 1}),
        ValueError,
        "labels: got a batch with",
    ),
    "float labels": (
        lambda: classification(jnp.ones((2, 3)), {"labels": jnp.ones(2)}),
        TypeError,
        "labels: got float32, expected integers",
    ),
    "masked labels": (
        lambda: classification(jnp.ones((2, 3)), {"labels": np.ma.array([1, 2])}),
        TypeError,
        "labels: got a masked array",
    ),
    "no logits": (
        lambda: classification(None, {"labels": jnp.ones(2, int)}),
        TypeError,
        "logits: got None, expected an array",
    ),
    "class weights of another length": (
        lambda: classification(jnp.ones((2, 3)), {"labels": jnp.ones(2, int)}, class_weights=jnp.ones(2)),
        ValueError,
        r"class_weights: got shape \(2,\) for 3 classes, expected \(3,\)",
    ),
    "class weights below 0": (
        lambda: classification(jnp.ones((2, 2)), {"labels": jnp.ones(2, int)}, class_weights=-jnp.ones(2)),
        ValueError,
        "class_weights: got -1.0",
    ),
    "an index that is text": (
        lambda: classification(jnp.ones((2, 2)), {"labels": jnp.ones(2, int)}, ignore_index="pad"),
        TypeError,
        "ignore_index: got 'pad', expected an integer",
    ),
    "no class": (
        lambda: classification(jnp.ones((2, 0)), {"labels": jnp.ones(2, int)}),
        ValueError,
        "logits: got",
    ),
    "smoothing 2": (
        lambda: classification(jnp.ones((2, 3)), {"labels": jnp.ones(2, int)}, label_smoothing=2),
        ValueError,
        "label_smoothing: got 2.0, expected a number in .0, 1.",
    ),
    "smoothing text": (
        lambda: classification(jnp.ones((2, 3)), {"labels": jnp.ones(2, int)}, label_smoothing="0.1"),
        TypeError,
        "label_smoothing: got '0.1'",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_arguments_are_refused_by_name(case):
    call, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        call()


def test_an_empty_batch_has_the_loss_0():
    assert float(classify(jnp.ones((0, 3)), {"labels": jnp.ones(0, int)})[0]) == 0
