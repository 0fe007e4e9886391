"""What a trained model generates: texts, music, sound, figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

from dlcore.plots.canvas import save_figures
from dlcore.runs.model import TrainedModel
from dlcore.utils.checks import check_instance, shown
from dlcore.utils.files import atomic_write, atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Content = Union[str, bytes, "Figure"]


def generate_files(model: TrainedModel, texts: Sequence[str], folder: Path) -> dict[Path, Content]:
    """Lets a model generate, and writes what it made into a folder.

    Args:
        model: the model, whose experiment has `Experiment.generate`.
        texts: what to begin from, or to answer; none: the experiment chooses its own examples.
        folder: the folder of the files; it is made if it is missing. Files with these names are replaced.

    Returns:
        The contents by the path of their file. A figure gets the name ``NAME.png``.

    Raises:
        ValueError: the experiment does not generate; or as its function says.
        TypeError: the function did not return contents by file name.
    """
    files = model.generate(texts)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[Path, Content] = {}
    for name, content in files.items():
        written[_write(folder, name, content)] = content
    return written


def _write(folder: Path, name: str, content: Content) -> Path:
    check_instance("generate", name, str, "file names that are text")
    if Path(name).name != name:
        raise ValueError(f"generate: got the file name {name!r}, expected one without a folder")
    path = folder / name
    if isinstance(content, str):
        with atomic_write(path) as file:
            file.write(content)
    elif isinstance(content, bytes):
        with atomic_write_bytes(path) as stream:
            stream.write(content)
    elif hasattr(content, "savefig"):
        (path,) = save_figures(folder, {path.stem: content})
    else:
        raise TypeError(
            f"generate: got {shown(content)} as {name}, expected text, bytes or a matplotlib figure"
        )
    return path


def text_of(files: Mapping[Path, Content]) -> str:
    """The contents that a terminal shows: those of text, one after the other."""
    return "\n".join(content.rstrip("\n") for content in files.values() if isinstance(content, str))
