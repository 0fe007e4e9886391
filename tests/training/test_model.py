"""The form in which training sees a model is what `Experiment.from_functions` takes."""

import inspect

import dlcore as dl
from dlcore.training.model import PureModel


def test_the_parts_of_a_model_are_the_first_arguments_of_from_functions():
    arguments = list(inspect.signature(dl.Experiment.from_functions).parameters)
    assert tuple(arguments[: len(PureModel._fields)]) == PureModel._fields
