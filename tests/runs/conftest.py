"""A finished run that all tests of this room share."""

import pytest

import dlcore as dl
from tests.helpers import plain_toy


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The plain toy, trained in a folder of its own; copy the folder to change it."""
    return dl.train(plain_toy.experiment, plain_toy.Config(), tmp_path_factory.mktemp("runs") / "plain")
