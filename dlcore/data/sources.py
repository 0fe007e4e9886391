"""Arrays that need not fit into memory: how rows are read from them, and how they are opened.

Rows are read from NumPy and JAX arrays by their indices, from zarr arrays by ``array.oindex``, and from everything
else, such as datasets of h5py, by slices ``array[start:stop]``. No row is read twice for a batch, and no other rows
are read.
"""

import importlib
import itertools
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from dlcore.utils.checks import check_instance
from dlcore.utils.files import user_path

_ZARR = ("zarr.json", ".zgroup", ".zarray")  # a zarr folder holds one of these


def take_rows(array: Any, rows: np.ndarray, steps: int | None = None) -> Any:
    """The rows with these indices, in this order, as an array ``[len(rows), ...]``.

    Args:
        array: ``[examples, ...]``, in memory or not.
        rows: integers from 0 to examples - 1, at least one; they may repeat.
        steps: the second axis is cut to this many entries; None leaves it as it is.

    >>> take_rows(np.arange(10).reshape(5, 2), np.array([3, 0, 3]), steps=1).tolist()
    [[6], [0], [6]]
    """
    if isinstance(array, np.ndarray | jax.Array):
        return array[rows] if steps is None else array[rows, :steps]
    found, places = np.unique(rows, return_inverse=True)
    if hasattr(array, "oindex"):
        return np.asarray(array.oindex[found if steps is None else (found, slice(steps))])[places]
    ends = (*np.flatnonzero(np.diff(found) > 1), len(found) - 1)
    starts = (0, *(end + 1 for end in ends[:-1]))
    spans = (slice(int(found[start]), int(found[end]) + 1) for start, end in zip(starts, ends, strict=True))
    parts = [np.asarray(array[span if steps is None else (span, slice(steps))]) for span in spans]
    return np.concatenate(parts)[places]


def open_arrays(path: str | Path, fields: Sequence[str] | None = None) -> dict[str, Any]:
    """Opens the arrays of a file or folder without reading them; batches then read the rows that they need.

    - ``NAME.npy``: one array, which is mapped into memory; the field has the name of the file.
    - a folder of ``.npy`` files: one field for each.
    - ``.npz``: this format cannot be read in parts, so that its arrays are read whole.
    - ``.h5``, ``.hdf5``: the datasets of an HDF5 file, those in groups by their path, such as ``train/inputs``.
    - ``.zarr``, or another folder with zarr's metadata: the arrays of a group by their path; a lone array has the name
      of the folder.

    HDF5 and zarr need h5py and zarr: ``pip install 'dlcore[files]'``. The files must not change while they are read.

    Args:
        path: the file or folder.
        fields: the names of the arrays to open; None opens all.

    Returns:
        A dict of arrays by name, in the order of ``fields`` or else sorted. `ShuffledBatches`, `PaddedBatches`,
        `BucketedBatches`, `StreamBatches` and `StreamEvaluation` take it.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the package that reads the file is not installed.
        TypeError: the path is no path, or fields are not a sequence of names.
        ValueError: the format is not known, the file is damaged, or it has no array or not all of the fields.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/inputs.npy", np.arange(6.0).reshape(3, 2))
    ...     arrays = open_arrays(folder)
    >>> type(arrays["inputs"]).__name__, arrays["inputs"].shape
    ('memmap', (3, 2))
    """
    location = user_path("path", path)
    if isinstance(fields, str) or not (fields is None or isinstance(fields, Sequence)):
        raise TypeError(f"fields: got {fields!r}, expected a sequence of names, such as ('inputs', 'labels')")
    for name in fields or ():
        check_instance("fields", name, str, "a sequence of names")
    if not location.exists():
        raise FileNotFoundError(f"path: got {location}, which does not exist")
    found = _reader_of(location)(location)
    missing = [name for name in fields or () if name not in found]
    if missing or not found:
        raise ValueError(
            f"path: got {location} without {', '.join(missing) or 'arrays'}, expected a source with the fields; it has "
            f"{', '.join(found) or 'none'}"
        )
    return {name: found[name] for name in (sorted(found) if fields is None else fields)}


def _reader_of(path: Path) -> Callable[[Path], dict[str, Any]]:
    """The function that opens the arrays of a file or folder of this kind."""
    if path.is_dir():
        return _open_zarr if any((path / name).exists() for name in _ZARR) else _open_folder
    readers = {".npy": _open_npy, ".npz": _open_npz, ".h5": _open_hdf5, ".hdf5": _open_hdf5}
    if path.suffix.lower() not in readers:
        raise ValueError(
            f"path: got {path}, expected {', '.join(readers)}, a zarr folder or a folder of .npy files"
        )
    return readers[path.suffix.lower()]


def _open_npy(path: Path) -> dict[str, Any]:
    try:
        return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"path: got {path}, expected an array of numbers in a .npy file ({error})"
        ) from error


def _open_folder(path: Path) -> dict[str, Any]:
    files = sorted(path.glob("*.npy"))
    return dict(itertools.chain.from_iterable(_open_npy(file).items() for file in files))


def _open_npz(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return dict(content)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"path: got {path}, expected arrays of numbers in a .npz file ({error})") from error


def _open_hdf5(path: Path) -> dict[str, Any]:
    h5py = _import("h5py", path)
    try:
        file = h5py.File(path, "r")  # its datasets keep it open
    except OSError as error:
        raise ValueError(f"path: got {path}, expected a readable HDF5 file ({error})") from error
    found: dict[str, Any] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(add)
    return found


def _open_zarr(path: Path) -> dict[str, Any]:
    zarr = _import("zarr", path)
    try:
        opened = zarr.open(path, mode="r")
        if isinstance(opened, zarr.Array):
            return {path.stem: opened}
        return {name: item for name, item in opened.members(max_depth=None) if isinstance(item, zarr.Array)}
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"path: got {path}, expected a zarr group or array ({error})") from error


def _import(package: str, path: Path) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"path: got {path}, which {package} reads, expected {package} to be installed; "
            "pip install 'dlcore[files]'"
        ) from error
