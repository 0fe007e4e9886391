"""Which code made a run: the names of its experiment's function and of its config class, kept in the run's folder.

``config.json`` holds the settings, and this record tells what to call with them. Together they are enough to load a
trained model from its folder alone.
"""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from dlcore.utils.files import write_json

ORIGIN = "experiment.json"
MAIN = "__main__"


def write_origin(folder: Path, build: Callable[..., Any] | None, config: Any) -> None:
    """Writes the names ``experiment`` and ``config``, each as ``MODULE:NAME``, beside the run's ``config.json``.

    A name that no import finds, such as that of a function in a function, is left out; then an earlier one stays.

    Args:
        folder: the run's folder.
        build: the function ``experiment(config)``; None if it is not known.
        config: the run's config, whose class is named.

    Raises:
        ValueError: there is such a file already, and it cannot be read.
    """
    names = {"experiment": importable_name(build), "config": importable_name(type(config))}
    known = {key: name for key, name in names.items() if name is not None}
    write_json(folder / ORIGIN, {**read_origin(folder), **known})


def read_origin(folder: Path) -> dict[str, str]:
    """The names that `write_origin` wrote into a run's folder; empty if there are none, as in an old folder.

    Raises:
        ValueError: the file is no JSON object of texts.
    """
    path = folder / ORIGIN
    if not path.is_file():
        return {}
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        names = None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError(
            f"{path}: got a file that is no JSON object of names, expected none or such a file; delete it"
        )
    return names


def importable_name(thing: Any) -> str | None:
    """``MODULE:NAME`` of a function or class, under which `find_by_name` finds it; None if it has no such name.

    What a program defines, which runs as ``__main__``, has the name of the program's module. What a notebook defines
    stays in ``__main__``.

    >>> importable_name(Path)
    'pathlib:Path'
    >>> importable_name(lambda config: config) is None
    True
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if module not in sys.modules or name is None:
        return None
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module_name(module)}:{name}" if found is thing else None


def module_name(module: str) -> str:
    """The name by which other processes import a module of this one; differs only for the program, ``__main__``.

    For ``python -m experiments.vowels`` it is ``experiments.vowels``, and for ``python rows.py`` it is ``rows``. In a
    notebook it stays ``__main__``.
    """
    if module != MAIN:
        return module
    main = sys.modules[MAIN]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return spec.name
    return Path(file).stem if file else MAIN


def find_by_name(name: str) -> Any:
    """The function or class with a name from `importable_name`; its module is imported, unless it is this program.

    Raises:
        ImportError: there is no such module, or nothing of this name in it.

    >>> find_by_name("pathlib:Path") is Path
    True
    """
    module, _, path = name.partition(":")
    found: Any = sys.modules[MAIN] if module == module_name(MAIN) else import_module(module)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ImportError(f"{module} has no {path}")
        found = getattr(found, part)
    return found
