"""Reads the files of image data sets, and names a file that is missing or damaged."""

import gzip
import io
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlcore.utils.files import user_path


def data_folder(folder: str | Path | None, contents: str) -> Path:
    """The folder of a data set as a path, in which ``~`` is the home directory.

    Args:
        folder: the folder that the user named, or None.
        contents: what the folder holds, for the error message.

    Raises:
        FileNotFoundError: the folder is None.
        TypeError: it is not a path.
        ValueError: it is no path on this machine.
    """
    if folder is None:
        raise FileNotFoundError(f"folder: got none, expected the folder that holds {contents}")
    return user_path("folder", folder)


def read_table(name: str, path: Path, shape: tuple[int, int]) -> np.ndarray:
    """A table of bytes from a file of numbers between commas, packed by gzip.

    Args:
        name: the data set, for error messages.
        path: the file.
        shape: the shape of the table.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is damaged.
    """
    mend = f"remove the package's folder, and launch/data {name}"
    if not path.is_file():
        raise FileNotFoundError(f"{name}: {path} is missing; {mend}")
    try:
        with gzip.open(path) as content:
            rows = np.loadtxt(content, delimiter=",", dtype=np.uint8)
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: got a damaged table ({error}); {mend}") from error
    if rows.shape != shape:
        raise ValueError(f"{path}: got a table of shape {rows.shape}, expected {shape}; {mend}")
    return rows


def read_idx_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The images ``[N, H, W]`` and the labels ``[N]`` of one part of MNIST, as bytes.

    Args:
        folder: holds the four idx files.
        part: ``"train"`` or ``"t10k"``, with which the names of its files begin.

    Raises:
        FileNotFoundError: the folder or one of the files is missing.
        ValueError: a file is damaged, or the labels do not fit the images.
    """
    images_path, labels_path = (_find_idx(folder, part, kind) for kind in ("images-idx3", "labels-idx1"))
    images, labels = _read_idx(images_path, dimensions=3), _read_idx(labels_path, dimensions=1)
    if len(images) != len(labels) or labels.max(initial=0) > 9:
        raise ValueError(
            f"{labels_path}: got {len(labels)} labels up to {labels.max(initial=0)}, expected one of 0..9 "
            f"for each of the {len(images)} images of {images_path.name}; fetch both files anew"
        )
    return images, labels


def _find_idx(folder: Path, part: str, kind: str) -> Path:
    stems = (f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-', '.')}-ubyte")
    names = [stem + end for stem in stems for end in ("", ".gz")]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        fault = f"has none of {', '.join(names)}" if folder.is_dir() else "is not a folder"
        raise FileNotFoundError(
            f"folder: got {folder}, which {fault}; "
            "expected MNIST's four idx files; name their folder, or use a set that needs no files: uci, mnist5k"
        )
    return found[0]


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array of an idx file: the magic number 0x0000'08'dimensions, one uint32 for each size, then the bytes.

    All numbers are big-endian. No more is read, or unpacked, than the sizes say and one byte.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = _read_at_most(file, 4 * (dimensions + 1)).ljust(4 * (dimensions + 1), b"\0")
            magic, *shape = struct.unpack(f">{dimensions + 1}I", header)
            if magic != 0x0800 + dimensions:
                raise ValueError(
                    f"{path}: got magic number {magic}, expected {0x0800 + dimensions}; fetch the file anew"
                )
            content = _read_at_most(file, math.prod(shape) + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: got an incomplete gzip file ({error}); fetch the file anew") from error
    if len(content) != math.prod(shape) or 0 in shape:
        got = "more" if len(content) > math.prod(shape) else len(content)
        raise ValueError(
            f"{path}: got {got} bytes of data, expected {'x'.join(map(str, shape))}; "
            "the file is cut short or damaged, fetch it anew"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_at_most(file: io.BufferedIOBase, count: int) -> bytes:
    """The next ``count`` bytes, or fewer if the file ends; a huge count takes no more memory than the file has."""
    parts: list[bytes] = []
    while count and (part := file.read(min(count, 2**20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images, float32 ``[N, 32, 32, 3]`` in [0, 1], and the labels ``[N]`` of one of CIFAR-10's binary files.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"folder: got {path.parent}, which has no {path.name}; expected CIFAR-10's binary version, "
            "data_batch_1.bin to data_batch_5.bin and test_batch.bin; name the folder that holds them"
        )
    content = np.fromfile(path, np.uint8)
    if not content.size or content.size % 3073:
        raise ValueError(
            f"{path}: got {content.size} bytes, expected rows of 3073; the file is cut short or damaged, fetch it anew"
        )
    rows = content.reshape(-1, 3073)
    if rows[:, 0].max() > 9:
        raise ValueError(f"{path}: got label {rows[:, 0].max()}, expected 0 to 9; fetch the file anew")
    return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / np.float32(255), rows[:, 0]


def read_gray_image(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """An image file of this height and width, with white things on black, as float32 ``[H, W, 1]`` in [0, 1].

    Args:
        path: a ``.npy`` file with numbers ``[H, W]`` or ``[H, W, C]``, bytes or floats in [0, 1]; or an image such as
            ``.png``. Colors become their mean; a fourth channel, opacity, is ignored.
        size: the height and the width.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: the path is no path.
        ValueError: the file holds no image, or one of another size.
    """
    from matplotlib.image import imread

    path = user_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"path: got {path}, which is no file; expected an image, .npy or .png")
    try:
        image = np.load(path, allow_pickle=False) if path.suffix == ".npy" else imread(path)
        if getattr(image, "dtype", np.dtype("O")).kind not in "buif":
            raise ValueError(f"{type(image).__name__} without real numbers")
        scaled = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1)
    except (ValueError, OSError, EOFError, SyntaxError) as error:
        raise ValueError(f"path: got {path}, which is no image ({error}); expected .npy or .png") from error
    gray = scaled[..., :3].mean(axis=-1) if scaled.ndim == 3 else scaled
    if gray.shape != tuple(size) or not ((gray >= 0) & (gray <= 1)).all():
        raise ValueError(
            f"path: got {path} of shape {image.shape} and {image.dtype}, expected {size[0]} x {size[1]} pixels, bytes "
            "or floats from 0 to 1; scale it to this size"
        )
    return gray[..., None]


def choose_images(texts: Sequence[str], images: np.ndarray) -> np.ndarray:
    """The images that a user names, ``[len(texts), H, W, 1]``.

    Args:
        texts: at least one; the number of one of the images, counted from 0, or the path of a file for
            `read_gray_image`.
        images: ``[N, H, W, 1]``.

    Raises:
        FileNotFoundError, TypeError, ValueError: as in `read_gray_image`.

    >>> choose_images(["1", "0"], np.arange(2.0).reshape(2, 1, 1, 1)).ravel().tolist()
    [1.0, 0.0]
    """
    known = {str(number): image for number, image in enumerate(images)}
    size = images.shape[1], images.shape[2]
    return np.stack([known[text] if text in known else read_gray_image(text, size) for text in texts])
