"""Real sequences have their published numbers, and scaling and noise change no padding."""

import numpy as np
import pytest

from dlcore.data import gaussian_noise, japanese_vowels, standardize


@pytest.fixture(scope="module", name="parts")
def vowels():
    return japanese_vowels()


def padding(part):
    """All numbers after the ends of the rows."""
    return np.concatenate(
        [row[length:].ravel() for row, length in zip(part["inputs"], part["lengths"], strict=True)]
    )


def frames(part):
    """All valid frames, row after row."""
    return np.concatenate([row[:length] for row, length in zip(part["inputs"], part["lengths"], strict=True)])


def test_japanese_vowels_have_the_official_split(parts):
    train, test = parts
    assert train["inputs"].shape == (270, 29, 12)
    assert test["inputs"].shape == (370, 29, 12)
    assert np.bincount(train["labels"]).tolist() == [30] * 9
    assert np.bincount(test["labels"]).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert (train["lengths"].min(), train["lengths"].max(), train["lengths"].sum()) == (7, 26, 4274)
    assert (test["lengths"].min(), test["lengths"].max(), test["lengths"].sum()) == (7, 29, 5687)
    for part in parts:
        assert {name: array.dtype for name, array in part.items()} == {
            "inputs": np.float32,
            "lengths": np.int32,
            "labels": np.int32,
        }
        assert not padding(part).any()
        assert frames(part).any(axis=1).all()  # no frame of zeros: the lengths are right


def test_japanese_vowels_are_the_published_numbers(parts):
    """The first frame of the text file, and the sum of each file's numbers in units of 10^-6."""
    train, _ = parts
    first = [1.860936, -0.207383, 0.261557, -0.214562, -0.171253, -0.118167]
    first += [-0.277557, 0.025668, 0.126701, -0.306756, -0.213076, 0.088728]
    np.testing.assert_array_equal(train["inputs"][0, 0], np.float32(first))
    assert [int(np.rint(frames(part).astype(float) * 1e6).sum()) for part in parts] == [
        -1057452303,
        -2146513430,
    ]


def test_standardized_training_frames_have_mean_0_and_standard_deviation_1(parts):
    train, test = standardize(*parts)
    np.testing.assert_allclose(frames(train).mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames(train).std(axis=0), 1, rtol=1e-5)
    ours, theirs = frames(parts[0]).astype(float), frames(parts[1]).astype(float)
    np.testing.assert_allclose(frames(test), (theirs - ours.mean(0)) / ours.std(0), atol=1e-4)
    for part in (train, test):
        assert part["inputs"].dtype == np.float32
        assert not padding(part).any()


def test_a_constant_feature_becomes_0():
    part = {"inputs": np.full((2, 3, 1), 5.0, np.float32), "lengths": np.array([3, 1])}
    train, test = standardize(part, part)
    assert not train["inputs"].any()
    assert not test["inputs"].any()


def test_noise_changes_valid_steps_only_and_depends_on_the_generator(parts):
    train, _ = parts
    noisy = gaussian_noise(0.5)(train, np.random.default_rng(1))
    assert noisy["inputs"].dtype == np.float32
    assert not padding(noisy).any()
    added = frames(noisy) - frames(train)
    np.testing.assert_allclose([added.mean(), added.std()], [0, 0.5], atol=0.01)
    again, other = (gaussian_noise(0.5)(train, np.random.default_rng(seed))["inputs"] for seed in (1, 2))
    np.testing.assert_array_equal(noisy["inputs"], again)
    assert (frames({**train, "inputs": other}) != frames(noisy)).mean() > 0.99
    assert noisy["labels"] is train["labels"]


def test_no_noise_changes_nothing_and_negative_noise_is_refused(parts):
    train, _ = parts
    np.testing.assert_array_equal(
        gaussian_noise(0)(train, np.random.default_rng(0))["inputs"], train["inputs"]
    )
    for scale, error in ((-1, ValueError), (np.nan, ValueError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"scale: got .*, expected a number in .0, inf."):
            gaussian_noise(scale)


def part(inputs, lengths=None):
    return {"inputs": np.asarray(inputs)} | ({} if lengths is None else {"lengths": np.asarray(lengths)})


GOOD = part(np.arange(12.0).reshape(2, 3, 2), [3, 1])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (part(np.full((2, 3, 2), np.nan)), GOOD, "train: got NaN or Inf in 6 of 6 valid steps of inputs"),
        (GOOD, part(np.full((2, 3, 2), np.inf), [1, 1]), "test: got NaN or Inf in 2 of 2"),
        (part(np.zeros((0, 3, 2))), GOOD, "train: got 0 valid steps"),
        (part(np.zeros((2, 3, 2)), [0, 0]), GOOD, "train: got 0 valid steps"),
        (GOOD, part(np.zeros((2, 3, 5))), r"train: got 4 valid .* as many features as .* \(2, 3, 5\)"),
        (GOOD, {"labels": np.zeros(2)}, "inputs: got a batch with the fields labels"),
        (part(np.zeros((2, 3))), GOOD, r"inputs: got shape \(2, 3\), expected an array"),
        (part(np.zeros((2, 3, 2)), [1, 4]), GOOD, "lengths: got 4 in row 1"),
    ],
)
def test_data_that_have_no_mean_and_standard_deviation_are_refused(train, test, message):
    with pytest.raises(ValueError, match=message):
        standardize(train, test)


def test_nan_in_the_padding_does_not_matter():
    inputs = np.arange(6.0).reshape(2, 3, 1)
    inputs[1, 1:] = np.nan
    for scaled in standardize(part(inputs, [3, 1]), part(inputs, [3, 1])):
        assert np.isfinite(scaled["inputs"]).all()
        assert not padding(scaled).any()


def test_lists_are_refused():
    with pytest.raises(TypeError, match="inputs: got list, expected an array"):
        standardize({"inputs": [[[1.0]]]}, GOOD)


def test_lengths_of_float_are_refused():
    with pytest.raises(TypeError, match="lengths: got float64, expected integers"):
        standardize(part(np.ones((2, 3, 1)), [1.0, np.nan]), GOOD)


def test_the_moments_are_summed_in_float64():
    """A million frames of 32768 +- 10 in float32, whose sum alone needs 35 bits."""
    noise = np.random.default_rng(0).normal(size=(1000, 1000, 1))
    inputs = (32768 + 10 * noise).astype(np.float32)
    train, _ = standardize(part(inputs), part(inputs[:1]))
    exact = inputs.astype(np.float64)
    np.testing.assert_allclose(train["inputs"], (exact - exact.mean()) / exact.std(), rtol=1e-6, atol=1e-6)


def test_a_constant_that_float_rounds_becomes_0_exactly():
    constant = part(np.full((50, 20, 1), 0.1, np.float32))
    assert not standardize(constant, constant)[0]["inputs"].any()


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float16", "float32"), ("float64", "float64"), ("uint8", "float32")]
)
def test_inputs_of_other_types_are_scaled_in_float(dtype, expected):
    inputs = np.array([[[100], [200]]], dtype)
    train, _ = standardize(part(inputs), part(inputs))
    assert train["inputs"].dtype == expected
    np.testing.assert_allclose(train["inputs"].ravel(), [-1, 1], rtol=1e-6)


def test_noise_needs_a_generator():
    with pytest.raises(TypeError, match=r"generator: got 0, expected a np.random.Generator"):
        gaussian_noise(1.0)(GOOD, 0)
