"""Files of image data sets are read no further than they say, and a damaged one is named."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from dlcore.data.vision.image_files import (
    choose_images,
    data_folder,
    read_cifar,
    read_gray_image,
    read_idx_part,
    read_table,
)


def write_part(folder, *, images, labels, header=None, suffix=""):
    """The two files of MNIST's training part; ``header`` takes the place of the sizes in the file of images."""
    compress = gzip.compress if suffix else bytes
    header = images.shape if header is None else header
    (folder / f"train-images-idx3-ubyte{suffix}").write_bytes(
        compress(struct.pack(">4I", 2051, *header) + images.tobytes())
    )
    (folder / f"train-labels-idx1-ubyte{suffix}").write_bytes(
        compress(struct.pack(">2I", 2049, len(labels)) + labels.tobytes())
    )


IMAGES, LABELS = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array([1, 0, 9], np.uint8)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_part_has_the_images_and_labels_of_its_files(tmp_path, suffix):
    write_part(tmp_path, images=IMAGES, labels=LABELS, suffix=suffix)
    images, labels = read_idx_part(tmp_path, "train")
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_no_more_is_unpacked_than_the_header_says(tmp_path, suffix):
    """The header says 3 images of 2 x 2 pixels, and 20 MB follow."""
    write_part(
        tmp_path, images=np.zeros(20 * 2**20, np.uint8), labels=LABELS, header=(3, 2, 2), suffix=suffix
    )
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"train-images.*: got more bytes of data, expected 3x2x2"):
        read_idx_part(tmp_path, "train")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 2**20


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "header",
    [
        (2**32 - 1, 2**32 - 1, 2**32 - 1),
        (2**31, 2**31, 4),
        (2**32 - 1, 1, 1),
        (0, 2, 2),
        (2, 2, 2),
        (3, 2, 3),
    ],
)
def test_a_damaged_header_is_refused_with_the_name_of_its_file(tmp_path, header, suffix):
    """(2^31, 2^31, 4) has 0 pixels in 64 bits."""
    write_part(tmp_path, images=IMAGES, labels=LABELS, header=header, suffix=suffix)
    with pytest.raises(
        ValueError, match=rf"train-images-idx3-ubyte{suffix}: got .* bytes of data, expected {header[0]}x"
    ):
        read_idx_part(tmp_path, "train")


def test_labels_that_do_not_fit_the_images_are_named(tmp_path):
    for labels in (LABELS[:2], np.array([1, 2, 10], np.uint8)):
        write_part(tmp_path, images=IMAGES, labels=labels)
        with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte: got \d labels up to"):
            read_idx_part(tmp_path, "train")


def test_a_folder_is_a_path(tmp_path, monkeypatch):
    assert data_folder(tmp_path, "files") == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder("~/set", "files") == tmp_path / "set"
    with pytest.raises(
        ValueError, match="folder: got '~nouser/set', but the home folder of ~nouser is not known"
    ):
        data_folder("~nouser/set", "files")
    with pytest.raises(FileNotFoundError, match="folder: got none, expected the folder that holds files"):
        data_folder(None, "files")
    with pytest.raises(TypeError, match="folder: got 5, expected a path"):
        data_folder(5, "files")


def compressed(text):
    """Without the time of day, so that every process names the tests alike."""
    return gzip.compress(text.encode(), mtime=0)


@pytest.mark.parametrize(
    "content",
    [b"no gzip", compressed("1,2\n3,4\n")[:-9], compressed("1,x\n"), compressed("1,2,3\n")],
)
def test_a_damaged_table_is_named(tmp_path, content):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"table\.csv\.gz: got a .*remove .* folder, and launch/data set"):
        read_table("set", path, (2, 2))


def test_a_cifar_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"which has no data_batch_1\.bin"):
        read_cifar(tmp_path / "data_batch_1.bin")


def test_gray_images_are_read_from_arrays_and_pictures(tmp_path):
    from matplotlib.image import imsave

    gray = np.arange(6, dtype=np.uint8).reshape(2, 3) * 51
    np.save(tmp_path / "bytes.npy", gray)
    np.save(tmp_path / "floats.npy", gray[..., None] / np.float32(255))
    imsave(tmp_path / "picture.png", gray, cmap="gray", vmin=0, vmax=255)
    for name in ("bytes.npy", "floats.npy", "picture.png"):
        image = read_gray_image(tmp_path / name, (2, 3))
        assert image.dtype == np.float32
        np.testing.assert_allclose(image[..., 0], gray / 255, atol=1e-6)


def test_what_is_no_gray_image_is_refused(tmp_path):
    np.save(tmp_path / "small.npy", np.zeros((2, 2), np.uint8))
    np.save(tmp_path / "bright.npy", np.full((2, 3), 7.0))
    np.save(tmp_path / "objects.npy", np.array([None]), allow_pickle=True)
    (tmp_path / "text.png").write_text("no picture")
    for name, named in (
        ("small.npy", r"small.npy of shape \(2, 2\) and uint8, expected 2 x 3 pixels"),
        ("bright.npy", "bright.npy of shape .* float64"),
        ("objects.npy", "objects.npy, which is no image"),
        ("text.png", "text.png, which is no image"),
    ):
        with pytest.raises(ValueError, match=named):
            read_gray_image(tmp_path / name, (2, 3))
    with pytest.raises(FileNotFoundError, match=r"missing\.npy, which is no file"):
        read_gray_image(tmp_path / "missing.npy", (2, 3))


def test_images_are_chosen_by_number_and_from_files(tmp_path):
    images = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 2, 3, 1)
    np.save(tmp_path / "own.npy", np.full((2, 3), 9, np.uint8))
    chosen = choose_images(["1", str(tmp_path / "own.npy"), "0"], images)
    np.testing.assert_array_equal(chosen[[0, 2]], images[::-1])
    np.testing.assert_allclose(chosen[1], 9 / 255)
    with pytest.raises(FileNotFoundError, match="path: got 2, which is no file"):
        choose_images(["2"], images)
