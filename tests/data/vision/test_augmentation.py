"""Random changes of images: shifts and flips keep whole images, and an affine one is what its equation says."""

import numpy as np
import pytest
from scipy import ndimage

from dlcore.data import random_affine, random_flips, random_shifts

IMAGES, GENERATOR = np.ones((2, 4, 4, 1), np.float32), np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: random_shifts(-1), ValueError, "pixels: got -1, expected an integer >= 0"),
        (lambda: random_shifts(1.5), TypeError, r"pixels: got 1\.5"),
        (lambda: random_shifts(1)({}, GENERATOR), ValueError, "inputs: got a batch with the fields"),
        (lambda: random_shifts(1)({"inputs": IMAGES[0]}, GENERATOR), ValueError, "inputs: got shape"),
        (lambda: random_shifts(1)({"inputs": IMAGES}, 0), TypeError, "generator: got 0"),
        (lambda: random_flips({"inputs": IMAGES[0]}, GENERATOR), ValueError, "inputs: got shape"),
        (
            lambda: random_flips({"labels": IMAGES}, GENERATOR),
            ValueError,
            "inputs: got a batch with the fields labels",
        ),
        (lambda: random_flips({"inputs": IMAGES}, None), TypeError, "generator: got None"),
        (
            lambda: random_affine(rotation=-1),
            ValueError,
            r"rotation: got -1\.0, expected a number in \[0, 180\]",
        ),
        (lambda: random_affine(scale=1), ValueError, r"scale: got 1\.0, expected a number in \[0, 1\)"),
        (lambda: random_affine(shear="a"), TypeError, "shear: got 'a'"),
        (lambda: random_affine(shift=-0.5), ValueError, r"shift: got -0\.5"),
        (lambda: random_affine()({"inputs": IMAGES[0]}, GENERATOR), ValueError, "inputs: got shape"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_shifts_move_whole_images_over_zeros():
    images = np.random.default_rng(0).uniform(0.1, 1, (64, 5, 4, 1)).astype(np.float32)
    shifted = random_shifts(1)({"inputs": images}, np.random.default_rng(1))["inputs"]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = set()
    for before, after in zip(padded, shifted, strict=True):
        found = [
            (i, j) for i in range(3) for j in range(3) if np.array_equal(before[i : i + 5, j : j + 4], after)
        ]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) == 9
    with pytest.raises(ValueError, match="pixels: got 4 for images of 5 x 4 pixels, expected less"):
        random_shifts(4)({"inputs": images}, np.random.default_rng(1))
    np.testing.assert_array_equal(
        random_shifts(0)({"inputs": images}, np.random.default_rng(1))["inputs"], images
    )


def test_flips_mirror_some_images_and_leave_the_others():
    images = np.random.default_rng(0).uniform(size=(64, 3, 4, 2)).astype(np.float32)
    flipped = random_flips({"inputs": images, "labels": np.arange(64)}, np.random.default_rng(1))
    same = [np.array_equal(one, other) for one, other in zip(images, flipped["inputs"], strict=True)]
    mirrored = [
        np.array_equal(one[:, ::-1], other) for one, other in zip(images, flipped["inputs"], strict=True)
    ]
    assert sum(same) + sum(mirrored) == 64
    assert 16 < sum(same) < 48
    np.testing.assert_array_equal(flipped["labels"], np.arange(64))


class Fixed(np.random.Generator):
    """A generator whose uniform numbers are all the same."""

    def __init__(self, value):
        super().__init__(np.random.PCG64())
        self.value = value

    def uniform(self, low, high, shape):
        return np.full(shape, self.value)


def changed(images, value=1.0, **sizes):
    """The images after the largest change to one side, or with -1 to the other."""
    return random_affine(**sizes)({"inputs": images}, Fixed(value))["inputs"]


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(3, 7, 5, 2)).astype(np.float32)


def test_no_change_returns_the_same_bits(images):
    generator = np.random.default_rng(1)
    same = random_affine()({"inputs": images, "labels": np.arange(3)}, generator)
    np.testing.assert_array_equal(same["inputs"], images)
    assert same["inputs"].dtype == np.float32
    np.testing.assert_array_equal(same["labels"], np.arange(3))


def test_half_a_turn_and_whole_shifts_move_pixels(images):
    turned = changed(images, rotation=180)
    np.testing.assert_allclose(turned, images[:, ::-1, ::-1], atol=1e-5)
    moved = changed(images, shift=1)
    np.testing.assert_allclose(moved[:, :-1, :-1], images[:, 1:, 1:], atol=1e-6)
    assert not moved[:, -1].any()
    assert not moved[:, :, -1].any()


def test_half_a_pixel_is_the_mean_of_two(images):
    moved = changed(images, shift=0.5)
    padded = np.pad(images, ((0, 0), (0, 1), (0, 1), (0, 0)))
    means = (padded[:, :-1, :-1] + padded[:, 1:, :-1] + padded[:, :-1, 1:] + padded[:, 1:, 1:]) / 4
    np.testing.assert_allclose(moved, means, atol=1e-6)


@pytest.mark.parametrize("value", [1.0, -1.0, 0.5])
def test_the_change_is_that_of_the_equation(images, value):
    """Against scipy's transform of one image by its matrix, with the matrix of the docstring."""
    angle, scale, shear, shift = np.deg2rad(20 * value), 1 + 0.2 * value, 0.3 * value, 0.7 * value
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.array([[1, 0], [shear, 1]])
    center = np.array([3.0, 2.0])
    offset = center - matrix @ center + shift
    new = changed(images, value, rotation=20, scale=0.2, shear=0.3, shift=0.7)
    for n, c in np.ndindex(3, 2):
        expected = ndimage.affine_transform(images[n, :, :, c], matrix, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(new[n, :, :, c], expected, atol=1e-5)


def test_every_image_draws_its_own_change_from_the_generator():
    same = np.repeat(np.random.default_rng(0).uniform(size=(1, 6, 6, 1)), 8, axis=0)
    transform = random_affine(rotation=30, scale=0.2, shear=0.2, shift=1)
    first, second = (transform({"inputs": same}, np.random.default_rng(5))["inputs"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 8
    empty = transform({"inputs": same[:0]}, np.random.default_rng(5))["inputs"]
    assert empty.shape == (0, 6, 6, 1)
