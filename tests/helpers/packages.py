"""Markers for tests that read the files of packages which bring data."""

import pytest

from dlcore.data.packages import package_folder


def needs_package(*names: str) -> pytest.MarkDecorator:
    """Skips a test where one of the packages is neither installed nor fetched."""
    return pytest.mark.skipif(
        bool(missing := [name for name in names if not is_there(name)]),
        reason=f"launch/data {' '.join(missing)}",
    )


def is_there(name: str) -> bool:
    try:
        package_folder(name)
    except FileNotFoundError:
        return False
    return True
