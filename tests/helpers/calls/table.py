"""The table of all public calls, room by room."""

import functools

from tests.helpers.calls.data import data
from tests.helpers.calls.gradflow import gradflow
from tests.helpers.calls.kinds import Call
from tests.helpers.calls.layers import layers
from tests.helpers.calls.music import music
from tests.helpers.calls.ops import ops
from tests.helpers.calls.plots import plots
from tests.helpers.calls.runs import runs
from tests.helpers.calls.speech import speech
from tests.helpers.calls.sweep import sweep
from tests.helpers.calls.training import training

ROOMS = (ops, layers, data, music, training, gradflow, runs, sweep, plots, speech)

WITHOUT_CHECKS = {
    "dl.CELLS": "a dict of cells",
    "dl.run": "a command line, tested as one",
    "dl.run_sweep": "a command line, tested as one",
    "dl.GradientFlow": "a result that gradient_flow makes",
    "dl.Trained": "a result that train makes",
    "dl.Inspection": "a result that inspect makes",
    "dl.attention_weights": "passes its arguments to a model",
    "dl.setting": "declares a field of a config; `check` refuses values that do not fit it",
    "dl.metrics.Metric": "a protocol",
    "dl.callbacks.Callback": "a base class whose methods do nothing",
    "dl.callbacks.CallbackError": "an error that a run raises",
    "dl.callbacks.Start": "a tuple that the run makes",
    "dl.callbacks.WandbLogger": "needs wandb; its own test checks the argument",
    "dl.callbacks.MLflowLogger": "needs MLflow; its own test checks the arguments",
    "dl.optimizers.is_decayed": "takes any tree of arrays",
    "dl.data.PairConfig": "a config; `check` refuses values that do not fit it",
    "dl.data.PairSplit": "a tuple that the readers of pairs make",
    "dl.data.bible_verses": "has no argument",
    "dl.data.caption_vocabulary": "has no argument",
    "dl.data.japanese_vowels": "has no argument",
    "dl.data.mnist5k": "has no argument",
    "dl.data.package_pairs": "reads packages that may be missing; its own test checks the arguments",
    "dl.data.movie_sentences": "has no argument",
    "dl.data.python_docs": "has no argument",
    "dl.data.shakespeare": "has no argument",
    "dl.data.Reviews": "a tuple that the loaders make",
    "dl.data.SplitText": "a tuple that the loaders make",
    "dl.data.Recording": "a tuple; the functions that take it check it",
    "dl.data.Postprocessing": "a tuple that choose_postprocessing makes",
    "dl.data.pitch": "needs librosa; its own test checks the arguments",
    "dl.data.prompt_contours": "reads packages that may be missing; its own test checks the arguments",
    "dl.data.recola": "reads a folder; its own test checks the arguments",
    "dl.data.contour_folder": "reads a folder; its own test checks the arguments",
    "dl.data.prompts": "reads packages that may be missing; its own test checks the arguments",
    "dl.data.uci_digits": "has no argument",
    "dl.data.Batch": "the name of a type",
    "dl.data.Alignment": "a tuple that learn_alignment makes",
    "dl.data.END": "a number",
    "dl.data.UNKNOWN": "a number",
    "dl.data.Pronunciation": "a tuple; the functions that take it check it",
    "dl.data.Transform": "the name of a type",
    "dl.gradflow.Recurrence": "a tuple; the functions that take it check it",
    "dl.gradflow.ModelRecurrence": "a tuple that find_recurrences makes",
    "dl.gradflow.Backward": "a tuple that backward makes",
    "dl.gradflow.Flow": "a tuple that measure makes",
    "dl.gradflow.Gate": "a tuple that gate_statistics makes",
    "dl.gradflow.wide_range.WideRange": "a tuple; the functions that take it check it",
    "dl.gradflow.cliff.Unit": "a tuple; the functions that take it check it",
    "dl.gradflow.cliff.Surface": "a tuple that surface makes",
    "dl.gradflow.cliff.Path": "a tuple that descend makes",
    "dl.sweep.Group": "a tuple; run checks it",
    "dl.sweep.SharedInputs": "a tuple; run checks it",
    "dl.sweep.Sweep": "a tuple; run checks it",
}
"""Public names that no bad call is made of, and why."""


@functools.cache
def public_calls() -> tuple[Call, ...]:
    return tuple(call for room in ROOMS for call in room())
