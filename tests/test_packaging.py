"""What a wheel holds and what it is called; `launch/package` builds and installs one."""

import re
import tomllib

import dlcore as dl
from tests.helpers.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_there_is_one_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", dl.__version__)
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dlcore.__version__"}
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.+)$", citation, flags=re.MULTILINE)[1] == dl.__version__
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(r"^## (\S+)", changes, flags=re.MULTILINE)[1] == dl.__version__


def test_a_wheel_holds_dlcore_alone():
    assert PROJECT["tool"]["setuptools"]["packages"]["find"] == {"include": ["dlcore*"]}
    assert not [
        path.name
        for path in ROOT.iterdir()
        if path.name.startswith("dlcore") and path.name != "dlcore" and path.suffix != ".egg-info"
    ]


def test_every_folder_of_the_package_is_a_package():
    """setuptools finds only folders with an ``__init__.py``."""
    for path in (ROOT / "dlcore").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path


def test_every_file_that_is_no_program_is_package_data():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    assert (ROOT / "dlcore" / "py.typed").is_file()
    for path in (ROOT / "dlcore").rglob("*"):
        if path.is_dir() or path.suffix in (".py", ".pyc"):
            continue
        package = ".".join(path.parent.relative_to(ROOT).parts)
        patterns = [*data["*"], *data.get(package, [])]
        assert any(path.match(pattern) for pattern in patterns), path


def test_every_lazy_face_has_its_stub():
    for path in (ROOT / "dlcore").rglob("__init__.py"):
        if "attach_stub" in path.read_text():
            assert path.with_suffix(".pyi").is_file(), path
