"""The pages and the README: their examples run, their links lead somewhere, and every public name has an entry."""

import csv
import doctest
import inspect
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dlcore as dl
from benchmarks import results
from dlcore.config import settings
from dlcore.config.renamed import RENAMED
from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md")), *sorted(DOCS.rglob("*.md"))]
PROGRAM = re.compile(r"```python\n(.*?)```", flags=re.DOTALL)
FLAG = re.compile(r"--config\.([\w.]+)")
NAMESPACES = {
    "dl": "dlcore",
    "gradflow": "dlcore.gradflow",
    "sweep": "dlcore.sweep",
    "plots": "dlcore.plots",
    "data": "dlcore.data",
    "losses": "dlcore.training.losses",
    "metrics": "dlcore.training.metrics",
    "callbacks": "dlcore.training.callbacks",
    "optimizers": "dlcore.training.optimizers",
    "convert": "dlcore.layers.convert",
}


def programs(page: Path) -> list[str]:
    return PROGRAM.findall(page.read_text())


COMPILED = ("gradient_flow", "notebook", "sequences")  # mostly compilation
WITH_EXAMPLES = [page for page in PAGES if any(">>>" in program for program in programs(page))]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in COMPILED else [])
        for page in WITH_EXAMPLES
    ],
)
def test_examples_print_what_the_page_says(page):
    """The programs of a page are one session, as a reader types them."""
    session = "\n\n".join(program for program in programs(page) if ">>>" in program)
    examples = doctest.DocTestParser().get_doctest(session, {}, page.name, str(page), 0)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=said.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(said)


def test_programs_without_prompts_compile():
    for page in PAGES:
        for program in programs(page):
            if ">>>" not in program:
                compile(program, page.name, "exec")


def test_notebooks_compile_and_hold_no_outputs():
    """The build of the documentation executes them."""
    notebooks = sorted((DOCS / "notebooks").glob("*.ipynb"))
    assert len(notebooks) >= 2
    for notebook in notebooks:
        for cell in json.loads(notebook.read_text())["cells"]:
            if cell["cell_type"] == "code":
                assert not cell["outputs"], notebook
                assert cell["execution_count"] is None, notebook
                lines = [line for line in cell["source"] if not line.startswith("%")]
                compile("".join(lines), notebook.name, "exec")


def experiment_of_the_readme():
    return next(program for program in programs(README) if "dl.run(" in program)


def test_the_readme_and_its_experiment_are_short():
    assert README.read_text().count("\n") <= 150
    assert len(experiment_of_the_readme().splitlines()) <= 45


@pytest.mark.slow
def test_the_experiment_of_the_readme_runs(tmp_path):
    (tmp_path / "rows.py").write_text(experiment_of_the_readme())
    finished = subprocess.run(
        [sys.executable, "rows.py", "--run=short", "--config.train.steps=400"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout.splitlines()[-1].removeprefix("result: "))
    assert result["accuracy"] > 0.9
    assert (tmp_path / "runs" / "rows" / "short" / "figures" / "learning_curves.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_links_and_names_of_files_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        assert re.match(r"https?://", target) or (page.parent / target).exists(), target
    for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", text):
        assert any((page.parent / target).with_suffix(suffix).exists() for suffix in (".md", ".ipynb")), (
            target
        )
    if page.name != "CHANGELOG.md":
        for target in re.findall(r"`((?:tests|dlcore|experiments|benchmarks|docs|launch)/[\w/.]+)`", text):
            assert (ROOT / target).exists() or target.startswith("experiments/rows"), target


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for index in (DOCS / "index.md", DOCS / "api" / "index.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index.read_text(), flags=re.DOTALL):
            listed |= {
                index.parent / line for line in block.splitlines() if line and not line.startswith(":")
            }
    sources = {*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")} - {DOCS / "index.md"}
    assert {source.with_suffix("") for source in sources} == listed


@pytest.mark.parametrize("page", sorted(NAMESPACES))
def test_every_public_name_has_an_entry(page):
    text = (DOCS / "api" / f"{page}.md").read_text()
    entries = re.findall(r"\.\. (?:autoclass|autofunction|data):: (\w+)", text)
    entries += [match.rsplit(".", 1)[1] for match in re.findall(r"\.\. automodule:: ([\w.]+)", text)]
    assert sorted(entries) == sorted(set(entries))
    assert set(entries) == public_names(NAMESPACES[page])


def public_names(name: str) -> set[str]:
    """The names of a namespace; those of `dl` without the namespaces, which have pages of their own."""
    module = import_module(name)
    if hasattr(module, "__all__"):
        namespaces = {other for other in module.__all__ if inspect.ismodule(getattr(module, other))}
        return set(module.__all__) - (namespaces if name == "dlcore" else set()) - {"__version__"}
    return {
        own
        for own, value in vars(module).items()
        if not own.startswith("_") and getattr(value, "__module__", None) == name
    }


def test_flags_in_the_pages_exist():
    """A leaf of `dl.Config`, a setting of an experiment or of a group, or an old name in the changelog."""
    known = {leaf.path for leaf in settings.leaves(dl.Config())}
    files = *(ROOT / "experiments").glob("*.py"), *(ROOT / "dlcore").rglob("*_config.py")
    own = "".join(path.read_text() for path in files)
    for page in PAGES:
        for path in FLAG.findall(page.read_text()):
            name = path.rstrip(".").rsplit(".", 1)[-1]
            renamed = page.name == "CHANGELOG.md" and path in RENAMED
            in_experiment = re.search(rf"^    {name}: ", own, flags=re.MULTILINE)
            assert path in known or renamed or in_experiment or path == "PATH", (page.name, path)


def test_the_changelog_lists_every_renamed_setting():
    text = (ROOT / "CHANGELOG.md").read_text()
    for old, new in RENAMED.items():
        assert f"| `--config.{old}` | `--config.{new}` |" in text


def test_the_table_of_results_has_the_rows_of_its_command():
    with results.TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    commands = {name: entry.command for entry in results.ENTRIES for name in entry.rows}
    assert {row["name"]: row["command"] for row in rows} == commands
    assert tuple(rows[0]) == results.COLUMNS
    for row in rows:
        module, *arguments = row["command"].split()[2:]
        name = arguments[0] if module == "benchmarks.controls" else module.removeprefix("experiments.")
        assert (ROOT / "experiments" / f"{name}.py").is_file()


def test_the_table_of_flags_has_every_leaf(monkeypatch):
    pytest.importorskip("docutils", reason="the extra docs is not installed")
    monkeypatch.syspath_prepend(str(DOCS / "_ext"))
    rows = import_module("flag_table").flag_rows(dl.Config())
    assert [row[0] for row in rows] == [leaf.flag for leaf in settings.leaves(dl.Config())]
    assert all(all(row) or row[1] in ("", "none") for row in rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_pages_are_plain(page):
    """American spelling, no machine's paths, 'after' for time."""
    text = page.read_text()
    assert not re.search(r"/(?:home|root|work|opt|usr)/", text)
    if page.name != "CHANGELOG.md":
        assert not re.search(
            r"\bbehind\b|(?:optim|initial|regular|normal|summar)is|\w(?:av|ol|eighb)our", text
        )
