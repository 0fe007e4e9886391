"""Arrays that are not in memory: the same batches to the bit, only the rows that are needed, and clear errors."""

import builtins
import threading

import numpy as np
import pytest

from dlcore.data import (
    BucketedBatches,
    PaddedBatches,
    ShuffledBatches,
    StreamBatches,
    StreamEvaluation,
    open_arrays,
)
from dlcore.data.sources import take_rows
from tests.helpers.bits import assert_same_bits

ARRAYS = {
    "inputs": np.random.default_rng(0).normal(size=(23, 6, 2)).astype(np.float32),
    "labels": np.arange(23, dtype=np.int16),
    "lengths": np.arange(23) % 6 + 1,
}
SETS = {
    "shuffled": lambda arrays: ShuffledBatches(arrays, 5, seed=0),
    "padded": lambda arrays: PaddedBatches(arrays, 5),
    "bucketed": lambda arrays: BucketedBatches(arrays, 4, seed=0, boundaries=(3,)),
    "streams": lambda arrays: StreamBatches(
        {"inputs": arrays["inputs"], "tokens": arrays["labels"]}, 3, 0, 4
    ),
    "evaluation": lambda arrays: StreamEvaluation(
        {"inputs": arrays["labels"]}, 3, 4, document_lengths=(20, 3)
    ),
}


class Sliced:
    """An array with nothing but a length and slices, which counts the rows that are read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, index):
        first = index[0] if isinstance(index, tuple) else index
        assert isinstance(first, slice)
        self.read += len(range(len(self.array))[first])
        return self.array[index]


def write_npy(path):
    path.mkdir()
    for name, array in ARRAYS.items():
        np.save(path / f"{name}.npy", array)
    return path


def write_npz(path):
    np.savez_compressed(path.with_suffix(".npz"), **ARRAYS)
    return path.with_suffix(".npz")


def write_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, array in ARRAYS.items():
            file.create_dataset(name, data=array, chunks=(4, *array.shape[1:]), compression="gzip")
        file["words/text"] = ["a", "b"]
    return path.with_suffix(".h5")


def write_zarr(path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path.with_suffix(".zarr"), mode="w")
    for name, array in ARRAYS.items():
        group.create_array(name, data=array, chunks=(4, *array.shape[1:]))
    return path.with_suffix(".zarr")


WRITERS = {"npy": write_npy, "npz": write_npz, "hdf5": write_hdf5, "zarr": write_zarr}


@pytest.fixture(scope="module", params=[*WRITERS, "slices"])
def source(request, tmp_path_factory):
    if request.param == "slices":
        return {name: Sliced(array) for name, array in ARRAYS.items()}
    return open_arrays(WRITERS[request.param](tmp_path_factory.mktemp("source") / "set"), tuple(ARRAYS))


@pytest.mark.parametrize("name", SETS)
def test_batches_equal_those_of_arrays_in_memory_to_the_bit(source, name):
    lazy, whole = SETS[name](source), SETS[name](ARRAYS)
    for step in range(len(whole) if hasattr(whole, "__len__") else 12):
        assert_same_bits(lazy[step], whole[step])
        assert all(isinstance(field, np.ndarray) for field in lazy[step].values())


def test_only_the_rows_of_a_batch_are_read():
    for name, most in (
        ("shuffled", 5),
        ("padded", 5),
        ("bucketed", 4),
        ("streams", 11),
    ):  # the last of three windows has 3 steps
        arrays = {field: Sliced(array) for field, array in ARRAYS.items()}
        data = SETS[name](arrays)
        for array in arrays.values():
            assert array.read <= (23 if array is arrays["lengths"] else 1)  # buckets need all lengths
            array.read = 0
        data[1]
        assert arrays["inputs"].read == most


@pytest.mark.parametrize("rows", [[3], [0, 1, 2], [5, 0, 5, 4, 22]])
def test_rows_in_any_order_and_more_than_once(source, rows):
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(take_rows(source[name], np.array(rows)), array[rows])
    cut = take_rows(source["inputs"], np.array(rows), steps=2)
    np.testing.assert_array_equal(cut, ARRAYS["inputs"][rows, :2])


def test_threads_may_share_a_source(source):
    data, found = ShuffledBatches(source, 5, seed=0), {}
    threads = [
        threading.Thread(target=lambda step=step: found.update({step: data[step]})) for step in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for step in range(8):
        assert_same_bits(found[step], ShuffledBatches(ARRAYS, 5, seed=0)[step])


def test_names_of_arrays(tmp_path):
    folder = write_npy(tmp_path / "set")
    assert list(open_arrays(folder)) == ["inputs", "labels", "lengths"]
    assert list(open_arrays(str(folder / "labels.npy"))) == ["labels"]
    assert list(open_arrays(folder, ["lengths", "inputs"])) == ["lengths", "inputs"]
    assert list(open_arrays(write_hdf5(tmp_path / "set"))) == ["inputs", "labels", "lengths", "words/text"]
    zarr = pytest.importorskip("zarr")
    zarr.save_array(tmp_path / "lone.zarr", ARRAYS["inputs"])
    assert open_arrays(tmp_path / "lone.zarr")["lone"].shape == (23, 6, 2)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.h5", "a.zarr/zarr.json"])
def test_damaged_files_are_named(tmp_path, name):
    if name.startswith(("a.h5", "a.zarr")):
        pytest.importorskip({"h": "h5py", "z": "zarr"}[name[2]])
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("no array")
    with pytest.raises(ValueError, match=rf"path: got .*/{name.partition('/')[0]}, expected "):
        open_arrays(tmp_path / name.partition("/")[0])


def test_sources_that_cannot_be_opened_are_refused(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(
        ValueError, match=r"path: got .*a.csv, expected .npy, .npz, .h5, .hdf5, a zarr folder"
    ):
        open_arrays(tmp_path / "a.csv")
    with pytest.raises(FileNotFoundError, match=r"path: got .*none.npy, which does not exist"):
        open_arrays(tmp_path / "none.npy")
    with pytest.raises(ValueError, match=r"path: got .* without arrays, .*; it has none"):
        open_arrays(tmp_path)
    folder = write_npy(tmp_path / "set")
    with pytest.raises(ValueError, match=r"path: got .* without bogus, .*; it has inputs, labels, lengths"):
        open_arrays(folder, ("inputs", "bogus"))
    for fields in ("inputs", 3, [3]):
        with pytest.raises(TypeError, match="fields: got"):
            open_arrays(folder, fields)
    (tmp_path / "a.h5").touch()
    imported = builtins.__import__
    monkeypatch.setattr(
        "importlib.import_module", lambda name: imported("no_such_package" if name == "h5py" else name)
    )
    with pytest.raises(ImportError, match=r"expected h5py to be installed; pip install 'dlcore\[files\]'"):
        open_arrays(tmp_path / "a.h5")


def test_text_in_a_file_is_refused_by_the_set(tmp_path):
    arrays = open_arrays(write_hdf5(tmp_path / "set"), ("words/text",))
    with pytest.raises(
        TypeError, match=r"arrays: words/text: got object of shape \(2,\), expected an array of"
    ):
        ShuffledBatches(arrays, 1, seed=0)
