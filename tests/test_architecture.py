"""The floors of the house: who may import whom, who asks for devices, how long files are, that each has its test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

PACKAGE = ROOT / "dlcore"
FLOORS = {
    "launch": 9,
    "cli": 8,
    "sweep": 7,
    "runs": 6,
    "gradflow": 5,
    "training": 4,
    "layers": 3,
    "data": 2,
    "ops": 1,
    "plots": 1,
    "config": 1,
    "utils": 0,
}
NEVER = {("training", "layers")}  # training sees pure functions only
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 300, 40


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported_modules(source: str, known: set[str]) -> Iterator[str]:
    """The modules of dlcore that a file imports anywhere: at the top, for types only, or inside of a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "dlcore")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dlcore":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else str(node.module)


def upward_imports(module: str, source: str, known: set[str]) -> list[str]:
    """The imports of a module that go to its own floor in another room, up, or where its room must never look."""
    own = room(module)
    return [
        f"{module} imports {other}"
        for other in imported_modules(source, known)
        if other == "dlcore"
        or (room(other) != own and (FLOORS[room(other)] >= FLOORS[own] or (own, room(other)) in NEVER))
    ]


KNOWN = {module_name(path) for path in MODULES}


def test_the_root_holds_only_the_face():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == set(FLOORS)


def test_no_import_goes_up_a_floor():
    found = [
        line
        for path in MODULES
        if path.parent != PACKAGE
        for line in upward_imports(module_name(path), path.read_text(), KNOWN)
    ]
    assert not found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dlcore.ops.lengths", "from dlcore.layers.recurrent import cells"),
        ("dlcore.training.loop", "def f():\n    from dlcore.gradflow.models.flow import measure"),
        ("dlcore.training.loop", "from dlcore.layers.normalization import normalize"),
        ("dlcore.utils.files", "from dlcore.config import settings"),
        ("dlcore.data.arrays", "import dlcore as dl"),
        (
            "dlcore.layers.normalization",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dlcore.cli.app import run",
        ),
    ],
)
def test_a_planted_upward_import_is_found(module, source):
    assert upward_imports(module, source, KNOWN)


def test_no_modules_import_each_other():
    graph = {module_name(path): set(imported_modules(path.read_text(), KNOWN)) for path in MODULES}
    assert not cycle(graph)
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """A way from a module to itself; empty if there is none."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        found = next(
            filter(None, (visit(other, [*way, module]) for other in sorted(graph.get(module, ())))), []
        )
        done.add(module)
        return found

    return next(filter(None, (visit(module, []) for module in sorted(graph))), [])


ASKED = {"default_backend", "device_count", "devices", "local_device_count", "local_devices"}
# They choose the devices of a program, read their memory, or count its operations, before or after JAX traces it.
ASK_FOR_DEVICES = {
    "dlcore.sweep.execute",
    "dlcore.training.distributed",
    "dlcore.training.mesh",
    "dlcore.training.targets.cpu",
    "dlcore.training.targets.target",
    "dlcore.training.targets.tpu",
    "dlcore.training.telemetry.flops",
    "dlcore.training.telemetry.speed",
}


def questions(source: str) -> set[str]:
    """What a file asks about the devices of its process, such as "devices" for ``jax.devices()``."""
    asked: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jax":
            asked.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jax":
            asked |= {alias.name for alias in node.names}
        if isinstance(node, ast.Attribute) and node.attr == "get_backend":
            asked.add("default_backend")
    return asked & ASKED


def test_no_program_depends_on_the_devices_of_the_process_that_traces_it():
    """A program may be compiled for other devices; `jax.lax.platform_dependent` chooses by the platform of these."""
    files = [*MODULES, *(ROOT / "experiments").glob("*.py")]
    asking = {module_name(path): found for path in files if (found := questions(path.read_text()))}
    assert set(asking) == ASK_FOR_DEVICES
    assert not [module for module, found in asking.items() if "default_backend" in found]


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("import jax\nif jax.default_backend() == 'cpu':\n    pass", {"default_backend"}),
        ("import jax\none = lambda: jax.device_count() == 1", {"device_count"}),
        ("from jax import devices as all_devices", {"devices"}),
        ("from jax.extend import backend\nbackend.get_backend().platform", {"default_backend"}),
        ("mesh.devices, topology.devices, jax.Device", set()),
    ],
)
def test_a_planted_question_is_found(source, asked):
    assert questions(source) == asked


def test_files_and_functions_are_short():
    for path in MODULES:
        source = path.read_text()
        assert source.count("\n") <= MAX_FILE, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert lines_of_code(node) <= MAX_FUNCTION, (path, node.name)


def lines_of_code(function: ast.FunctionDef) -> int:
    """The lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_every_module_has_its_test_file():
    expected = [
        Path("tests", *path.relative_to(PACKAGE).parent.parts, f"test_{path.name}")
        for path in MODULES
        if path.name != "__init__.py"
    ]
    expected += [
        Path("tests", "experiments", f"test_{path.name}")
        for path in (ROOT / "experiments").glob("*.py")
        if path.name != "__init__.py"
    ]
    assert not [str(path) for path in expected if not (ROOT / path).is_file()]


def test_every_test_file_has_its_module():
    others = {
        f"test_{name}.py"
        for name in ("architecture", "bad_calls", "docs", "dtypes", "face", "kills", "packaging")
    }
    known = {path.relative_to(PACKAGE) for path in MODULES}
    stray = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        place = path.relative_to(ROOT / "tests")
        module = place.with_name(place.name.removeprefix("test_"))
        beside = (
            place.parts[0] in ("experiments", "launch", "benchmarks", "transformations")
            or place.name in others
        )
        if module not in known and not beside:
            stray.append(str(place))
    assert not stray


def test_old_names_are_gone():
    """Old names stand only in the table of renamed settings; `CHANGELOG.md` lists them for people."""
    old = r"average_decay|rematerialise|read_workers|read_ahead|written_whole|stepped\.py"
    for path in (*MODULES, *(ROOT / "experiments").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")):
        if path.name != "renamed.py":
            assert not re.search(old, path.read_text()), path
