"""Programs that packages from the extra `dev` bring, such as shellcheck."""

import shutil
import sys
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped if it is not installed.

    Args:
        name: the program.
        package: the package that brings it.
    """
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which(name, path=beside_python) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; pip install {package}")
    return found
