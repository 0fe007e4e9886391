"""A command line refuses anything but a class of settings."""

import dlcore as dl
from dlcore.cli.config_class import check_config_class
from tests.helpers.bad_arguments import unclear_errors


def test_a_bad_argument_is_named():
    assert not unclear_errors(
        lambda config_class: check_config_class(config_class, dl.Config, "dl.Config"),
        {"config_class": dl.Config},
    )
