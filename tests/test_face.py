"""The lazy face: `import dlcore` loads nothing, and every name of every namespace is there when it is used."""

import subprocess
import sys
from importlib import import_module

import pytest

import dlcore as dl

HEAVY = (
    "jax",
    "flax",
    "optax",
    "orbax",
    "numpy",
    "matplotlib",
    "grain",
    "sklearn",
    "mlxtend",
    "tensorboardX",
    "absl",
)
PROGRAM = f"""
import sys
import dlcore
late = set({HEAVY!r}) & set(sys.modules)
assert not late, late
assert dlcore.__version__

# Names are imported when they are first used. Even then no device is touched, and a run's packages stay unloaded.
for name in dlcore.__all__:
    assert getattr(dlcore, name) is not None, name
from jax._src import xla_bridge
assert not xla_bridge._backends, xla_bridge._backends
late = {{"orbax", "matplotlib", "grain", "sklearn", "mlxtend", "tensorboardX"}} & set(sys.modules)
assert not late, late
"""
FACES = (
    "dlcore",
    "dlcore.data",
    "dlcore.gradflow",
    "dlcore.gradflow.measures",
    "dlcore.layers.convert",
    "dlcore.plots",
    "dlcore.sweep",
    "dlcore.training",
    "dlcore.training.losses",
    "dlcore.training.metrics",
    "dlcore.training.callbacks",
    "dlcore.training.optimizers",
)


def test_import_loads_neither_jax_nor_a_late_package_and_touches_no_device():
    finished = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_resolves(face):
    module = import_module(face)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("face", FACES)
def test_an_unknown_name_is_an_error(face):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = import_module(face).no_such_name


def test_functions_are_not_shadowed_by_their_modules():
    import_module("dlcore.gradflow.measures.backward")
    import_module("dlcore.sweep.execute")
    assert callable(dl.gradflow.backward)
    assert callable(dl.gradflow.find_recurrences)
    assert callable(dl.sweep.run)


def test_resolving_all_names_at_once_finds_no_broken_line():
    """lazy_loader resolves every name at import if EAGER_IMPORT is set."""
    program = "import dlcore, dlcore.gradflow, dlcore.sweep, dlcore.plots, dlcore.data, dlcore.layers.convert"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={"EAGER_IMPORT": "1", "PATH": "", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
