"""Random changes of images, which a label survives: transforms of training batches."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dlcore.config.settings import Settings, setting
from dlcore.data.batch import Batch, Transform, check_generator, get_field
from dlcore.utils.checks import check_integer, check_number


def random_affine(
    *, rotation: float = 0.0, scale: float = 0.0, shear: float = 0.0, shift: float = 0.0
) -> Transform:
    """Returns a transform that turns, scales, shears and shifts each image of a batch about its center.

    The pixel of a new image at the place p = (row, column) is that of the old one at ``c + A (p - c) + t``, by linear
    interpolation and with zeros around the image, where c is the center and

        A = s [[cos a, -sin a], [sin a, cos a]] [[1, 0], [m, 1]].

    Every image draws its angle a, scale s, shear m and shift t, all from uniform distributions about "no change".

    Args:
        rotation: the largest angle to each side, in degrees.
        scale: s is between ``1 - scale`` and ``1 + scale``.
        shear: the largest shear to each side, in columns a row.
        shift: the largest shift along each axis, in pixels; it need not be an integer.

    Returns:
        A transform of batches with ``inputs [B, H, W, C]``; other fields do not change.

    Raises:
        TypeError: an argument is no number.
        ValueError: one is out of its bounds: below 0, a rotation above 180, a scale of 1 or above, or infinite.

    >>> batch = {"inputs": np.ones((2, 8, 8, 1), np.float32)}
    >>> random_affine(rotation=10, shift=0.5)(batch, np.random.default_rng(0))["inputs"].shape
    (2, 8, 8, 1)
    """
    check_number("rotation", rotation, "[0, 180]")
    check_number("scale", scale, "[0, 1)")
    check_number("shear", shear, "[0, inf)")
    check_number("shift", shift, "[0, inf)")

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        images = get_field(batch, "inputs")
        check_images("inputs", images)
        check_generator(generator)
        count, *size, channels = images.shape
        angle, stretch, slant = generator.uniform(-1, 1, (3, count))
        moves = shift * generator.uniform(-1, 1, (count, 2))
        angle, stretch, slant = np.deg2rad(rotation) * angle, 1 + scale * stretch, shear * slant
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        change = np.array([[np.ones(count), np.zeros(count)], [slant, np.ones(count)]])
        center = (np.array(size) - 1) / 2
        places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1) - center
        old = np.einsum("n,ijn,jkn,hwk->inhw", stretch, turn, change, places)
        old += (center + moves).T[..., None, None]
        # One call for all images and channels, whose numbers are integers and so not interpolated.
        shape = (*old.shape[1:], channels)
        numbers = [np.broadcast_to(np.arange(count)[:, None, None, None], shape)]
        numbers += [np.broadcast_to(axis[..., None], shape) for axis in old]
        numbers += [np.broadcast_to(np.arange(channels), shape)]
        return {**batch, "inputs": ndimage.map_coordinates(images, numbers, order=1, mode="grid-constant")}

    return transform


@dataclass
class AffineConfig(Settings):
    """How much training images change by `random_affine`. The defaults are for digits of 8 x 8 pixels.

    >>> AffineConfig(rotation=0.0).make_transform()  # doctest: +ELLIPSIS
    <function random_affine.<locals>.transform at ...>
    """

    rotation: float = setting(
        8.0, "Largest rotation of a training image to each side, in degrees.", minimum=0, maximum=180
    )
    scale: float = setting(
        0.08, "Largest change of a training image's size, as a share of it.", minimum=0, below=1
    )
    shear: float = setting(
        0.1, "Largest shear of a training image to each side, in columns a row.", minimum=0
    )
    shift: float = setting(0.3, "Largest shift of a training image along each axis, in pixels.", minimum=0)

    def make_transform(self) -> Transform:
        """The transform of training batches with these sizes."""
        return random_affine(**vars(self))


def random_flips(batch: Batch, generator: np.random.Generator) -> Batch:
    """A transform that mirrors each image of a batch left to right with probability 1/2.

    Args:
        batch: has ``inputs [B, H, W, C]``; other fields do not change.
        generator: the source of all random numbers.

    Returns:
        A new batch with the same fields.

    Raises:
        TypeError: an argument has another type.
        ValueError: the batch has no ``inputs``, or they have another rank.
    """
    images = get_field(batch, "inputs")
    check_images("inputs", images)
    check_generator(generator)
    mirrored = generator.random(len(images)) < 0.5
    return {**batch, "inputs": np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)}


def random_shifts(pixels: int) -> Transform:
    """Returns a transform that shifts each image of a batch along both axes and fills the gap with zeros.

    Args:
        pixels: the largest shift; each shift is an integer from -pixels to pixels.

    Returns:
        A transform of batches with ``inputs [B, H, W, C]``. It raises ValueError if H or W is not larger than
        ``pixels``.

    Raises:
        TypeError: the number of pixels is not an integer.
        ValueError: it is below 0.

    >>> batch = {"inputs": np.ones((2, 8, 8, 1), np.float32)}
    >>> random_shifts(1)(batch, np.random.default_rng(0))["inputs"].shape
    (2, 8, 8, 1)
    """
    check_integer("pixels", pixels, 0)

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        images = get_field(batch, "inputs")
        check_images("inputs", images)
        check_generator(generator)
        count, height, width, _ = images.shape
        if pixels >= min(height, width):
            raise ValueError(
                f"pixels: got {pixels} for images of {height} x {width} pixels, expected less, so that a "
                "part of each image is left"
            )
        padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
        down, right = generator.integers(0, 2 * pixels + 1, (2, count))
        rows = down[:, None, None] + np.arange(height)[:, None]
        columns = right[:, None, None] + np.arange(width)
        return {**batch, "inputs": padded[np.arange(count)[:, None, None], rows, columns]}

    return transform


def check_images(name: str, images: np.ndarray) -> None:
    """Checks that an array holds images ``[N, H, W, C]``.

    Raises:
        TypeError: it is no array; ``name`` is what the message calls it.
        ValueError: it has another rank.
    """
    if not hasattr(images, "dtype"):
        raise TypeError(f"{name}: got {type(images).__name__}, expected an array [N, H, W, C]")
    if images.ndim != 4:
        raise ValueError(
            f"{name}: got shape {images.shape}, expected [N, H, W, C]; images[..., None] adds a channel"
        )
