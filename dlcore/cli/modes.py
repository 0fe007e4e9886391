"""The modes that every experiment has, as functions of a `Run` that return what the command line prints.

They call the functions of `dlcore.runs`, as a notebook does, and turn mistakes of the user into `UsageError`.
"""

import contextlib
import re
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax

from dlcore.cli.errors import UsageError, usage_errors
from dlcore.cli.process import print_report
from dlcore.config.settings import did_you_mean
from dlcore.config.sources import SourcedSetting
from dlcore.runs.gradient_flow import measure_states, write_report
from dlcore.runs.inspect import check_start, inspect_run
from dlcore.runs.model import TrainedModel
from dlcore.runs.train import train_run
from dlcore.training.experiment import Experiment, Mode
from dlcore.training.run import Run
from dlcore.training.run_folder import CONFIG, check_folder, check_writable, claim_folder
from dlcore.utils.checks import check_instance
from dlcore.utils.files import user_path

INPUT = re.compile("^(text|texts|path|story): (?=got )")
"""How an error begins that is about what the flag ``--input`` gives."""


def train(run: Run) -> Mapping[str, Any]:
    """``--mode=train``: claims the run's folder and trains to the last step, see `runs.train.train_run`.

    Returns:
        A dict of the last state's evaluation metrics by name, ``steps`` and ``seconds``, and ``stopped``, the reason,
        if a callback stopped the run; the stored one if the run is finished already.

    Raises:
        UsageError: the folder is in use, or holds a run with other settings or other files; or the package of a logger
            is not installed.
        Interrupted, NonFiniteError, CheckpointError: as in `loop.train`.
    """
    _check_run(run)
    with contextlib.ExitStack() as stack:
        with usage_errors(run.config):
            _ = run.engine.callbacks  # a logger that is not installed is an error before anything is written
            stack.enter_context(claim_folder(run))
        return train_run(run).result


def evaluate(run: Run) -> Mapping[str, Any]:
    """``--mode=evaluate``: evaluates a checkpoint on the whole evaluation set; writes nothing.

    Returns:
        A dict of the metrics by name, and of the checkpoint's ``steps``.

    Raises:
        UsageError: there is no such checkpoint, or it is damaged or does not fit the config.
    """
    from dlcore.training import loop
    from dlcore.training.evaluation import evaluate

    _check_run(run)
    with usage_errors(run.config):
        state = loop.restore_model(run)
    return {**evaluate(run.engine, state), "steps": int(state.step)}


def gradient_flow(run: Run) -> Mapping[str, Any]:
    """``--mode=gradient_flow``: measures gradients along every recurrence of the model and writes a report.

    ``--checkpoint`` chooses the state: ``initial``, ``newest``, ``best``, a step, or ``all``, which means the initial
    state and then every checkpoint. The initial state is the one in which training starts, with the parameters of
    ``init_from``. The newest state of a run without a checkpoint is the initial one. Gradients are measured without
    dropout on the rows that ``--config.gradient_flow`` names. The report is the folder ``gradient_flow/STATE/`` in the
    run's folder. It lists the loops and cells that are not measured, and so does stderr.

    Returns:
        A dict: ``report`` is the path of the report's page, and ``states`` is the number of states. For each recurrence
        of the last state, ``half_life/NAME`` follows from its largest Lyapunov exponent and ``gain_half_life/NAME``
        from the slope of its gain, both in time steps.

    Raises:
        UsageError: the model has no recurrence that can be measured, the folder's run has other settings, or
            there is no such checkpoint, or it is damaged.
    """
    from dlcore.training import loop

    _check_run(run)
    with usage_errors(run.config), contextlib.ExitStack() as stack:
        if (run.folder / CONFIG).is_file():
            check_folder(run)
        else:
            stack.enter_context(claim_folder(run))
        flows, unmeasured = measure_states(run.engine, loop.named_states(run), run.config.gradient_flow)
    state, last = list(flows.items())[-1]
    folder = run.folder / "gradient_flow" / ("all" if len(flows) > 1 else state.replace(" ", "_"))
    report = write_report(folder, flows, unmeasured, run.config.optimizer.clip_norm, run.folder)
    return {
        "report": str(report),
        "states": len(flows),
        **{f"half_life/{flow.name}": flow.half_life for flow in last},
        **{f"gain_half_life/{flow.name}": flow.gain_half_life for flow in last},
    }


def inspect(run: Run, settings: Sequence[SourcedSetting], compile: bool) -> Mapping[str, Any]:
    """``--mode=inspect``: prints what the run would be on a machine, see `runs.inspect.inspect`; writes nothing.

    It makes the checks that a training makes before it starts, also those of the run's folder.

    Args:
        run: the run; its ``target`` is the machine.
        settings: the settings of its config with their sources.
        compile: whether to compile the steps.

    Returns:
        A dict of the main numbers.

    Raises:
        UsageError: a step does not fit the machine's memory, or as in `train`.
    """
    _check_run(run)
    with usage_errors(run.config):
        check_start(run)
        check_folder(run)
        check_writable(run.folder)
    inspection = inspect_run(run, settings, compile=compile)
    if jax.process_index() == 0:
        print_report(inspection.text)
    if inspection.problem:
        raise UsageError(inspection.problem)
    return inspection.result


def generate(run: Run, texts: Sequence[str], output: str | None) -> Mapping[str, Any]:
    """``--mode=generate``: restores a checkpoint, and writes and prints what the model generates.

    Args:
        run: the run.
        texts: what to begin from, or to answer; ``-`` stands for the lines of stdin.
        output: the folder of the files; None: ``generated`` in the run's folder.

    Returns:
        A dict: ``files`` are the paths of what was written, ``steps`` the steps of the checkpoint.

    Raises:
        UsageError: there is no such checkpoint, it is damaged, or the texts are not what the experiment reads.
    """
    from dlcore.runs.generate import generate_files, text_of
    from dlcore.training import loop

    _check_run(run)
    with usage_errors(run.config):
        folder = run.folder / "generated" if output is None else user_path("--output", output)
        model = TrainedModel(run, loop.restore_model(run))
        try:
            files = generate_files(model, read_texts(texts), folder)
        except (ValueError, FileNotFoundError) as error:
            if not INPUT.match(str(error)):
                raise
            raise UsageError(INPUT.sub("--input: ", str(error))) from error
    if text := text_of(files):
        print_report(text)
    return {"files": list(map(str, files)), "steps": model.step}


def read_texts(texts: Sequence[str]) -> list[str]:
    """The texts with the lines of stdin, other than blank ones, in place of each ``-``.

    Raises:
        ValueError: stdin is no text in UTF-8 or has only blank lines, or a text is blank.
    """
    lines: list[str] = []
    for text in texts:
        found = _stdin_lines() if text == "-" else [text]
        lines += [line for line in found if line.strip()]
        if not any(map(str.strip, found)):
            source = "no text in stdin" if text == "-" else repr(text)
            raise ValueError(
                f"text: got {source}, expected some; without the flag the experiment has examples of its own"
            )
    return lines


def _stdin_lines() -> list[str]:
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")  # strictly, whatever the locale says
    except UnicodeDecodeError as error:
        raise ValueError(f"stdin: {error}; expected a text in UTF-8") from error
    return text.splitlines()


def find_mode(experiment: Experiment, name: str, others: Mapping[str, Mode] = MappingProxyType({})) -> Mode:
    """The mode with this name: one that every experiment has, or one of the experiment's own.

    Args:
        experiment: the experiment.
        name: the name.
        others: further modes that every experiment has.

    Raises:
        ValueError: there is no such mode, or a mode of the experiment has the name of that every experiment has.
    """
    own = {"train": train, "evaluate": evaluate, "gradient_flow": gradient_flow}
    known: dict[str, Mode] = {**own, **others}
    for added in experiment.modes:
        if added in known:
            raise ValueError(
                f"modes: got {added!r}, expected another name; dlcore has the mode {added} already"
            )
    known |= experiment.modes
    if name not in known:
        raise ValueError(
            f"--mode: got {name!r}, expected one of {', '.join(known)}" + did_you_mean(name, known)
        )
    return known[name]


def _check_run(run: Any) -> None:
    """Checks that a mode got a `Run`; raises TypeError if not."""
    check_instance("run", run, Run, "a dlcore.training.run.Run")
