"""Shared by all tests: a compilation cache that outlives the process, and the toy experiment."""

import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

# Before jax is imported, and in the environment so that the processes that tests start have it too.
CACHE = Path(__file__).parent.parent / ".cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# Most of the time is compilation. It takes a third less without LLVM's optimization, and again a third less without the
# emitters of fusions, which newer versions of XLA cannot do without.
FLAGS = ["--xla_backend_optimization_level=0"]
if version("jaxlib").startswith("0.10."):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# libtpu is here to compile. JAX would look for a TPU in every process, and say that it finds none.
if find_spec("libtpu"):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

import dataclasses
import gc
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest

import dlcore as dl
from tests.helpers import toy


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000


@pytest.fixture(autouse=True, scope="module")
def programs_are_dropped_in_time():
    """Compiled programs take of the 65,530 memory maps that Linux gives a process; without any left, LLVM aborts."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@dataclass
class Toy:
    """The toy experiment, its config, and the arrays it learns."""

    experiment: dl.Experiment
    config: toy.Config
    arrays: dict[str, np.ndarray]


def make_toy(seed: int = 0, **train: Any) -> Toy:
    config = toy.Config(seed=seed)
    config.train = dataclasses.replace(config.train, **train)
    return Toy(toy.experiment(config), config, toy.arrays(config.examples))


@pytest.fixture(name="make_toy")
def make_toy_fixture():
    return make_toy


@pytest.fixture
def drawn(tmp_path):
    """Saves a figure, which is when matplotlib finds most mistakes."""

    def save(figure):
        figure.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 1000
        return figure

    return save
