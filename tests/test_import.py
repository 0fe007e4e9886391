"""`import dlcore` is cheap: it touches no device and loads nothing that only some runs need."""

import subprocess
import sys

PROGRAM = """
import sys
import dlcore
from jax._src import xla_bridge
assert not xla_bridge._backends, xla_bridge._backends
late = {"orbax", "matplotlib", "grain", "sklearn", "mlxtend", "tensorboardX"} & set(sys.modules)
assert not late, late
assert all(hasattr(dlcore, name) for name in dlcore.__all__)
"""


def test_import_touches_no_device_and_loads_no_late_package():
    finished = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
