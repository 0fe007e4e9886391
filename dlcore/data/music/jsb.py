"""The JSB chorales, the published split of Bach's chorales, from a file on the user's disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.music.chorales import VOICES, pad_frames
from dlcore.data.music.frames import marks_of_changes
from dlcore.data.music.musicxml import REST
from dlcore.utils.checks import shown
from dlcore.utils.files import user_path

PARTS = ("train", "valid", "test")
INSTEAD = "dl.data.bach_chorales needs no file"


def jsb_chorales(path: str | Path | None) -> tuple[Batch, Batch, Batch]:
    """The JSB chorales with their published split of 229/76/77 (Boulanger-Lewandowski et al. 2012, arXiv 1206.6392).

    A frame of the file lists the notes that sound. Four notes are the four voices, from the highest to the lowest or
    from the lowest to the highest. One note is the soprano's. Of two or three the highest is the soprano's, the lowest
    the bass's, and a third the alto's. The other voices rest, as the file does not say which voices sing the same note.

    Args:
        path: a file of JSB-Chorales-dataset, such as ``jsb-chorales-quarter.json``: a dict of the lists ``train``,
            ``valid`` and ``test`` of chorales, which are lists of frames, which are lists of MIDI numbers. A voice that
            rests may have null, NaN or -1. None stands for a file that was not given, which is an error.

    Returns:
        ``(train, valid, test)``, three batches with the fields of `bach_chorales`. The file knows no fermata and no
        note that is struck again: in ``marks`` a note begins where the soprano's pitch changes.

    Raises:
        TypeError: the path is not a path.
        FileNotFoundError: there is no such file, or the path is None.
        ValueError: the file is a pickle, which could run any program when it is read, or holds something else.
    """
    if path is None:
        raise FileNotFoundError(f"path: got none, expected a file such as jsb-chorales-8th.json; {INSTEAD}")
    path = user_path("path", path)
    if path.suffix != ".json":
        raise ValueError(
            f"path: got {path}, expected a file .json; a pickle is not read, as it could run any program; {INSTEAD}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"path: got {path}, which is no file, expected the JSB chorales, such as jsb-chorales-8th.json; {INSTEAD}"
        )
    try:
        content = json.loads(path.read_text("utf-8"))
        train, valid, test = (_read_part(name, content[name]) for name in PARTS)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(
            f"{path}: got a file that holds no chorales ({error!r}), expected {', '.join(PARTS)} as lists of chorales, "
            "which are lists of frames of up to four MIDI numbers; fetch it anew"
        ) from error
    return train, valid, test


def _read_part(name: str, chorales: Any) -> Batch:
    pieces = [np.array([_voices(frame) for frame in chorale], np.int32) for chorale in chorales]
    if not pieces or not all(len(piece) for piece in pieces):
        raise ValueError(f"{name}: {len(pieces)} chorales, of which some may have no frame")
    return pad_frames([(piece, marks_of_changes(piece[:, 0])) for piece in pieces])


def _voices(frame: Any) -> list[int]:
    """The four voices of a frame."""
    notes = [REST if note is None or note != note or note == -1 else int(note) for note in frame]
    if len(notes) > len(VOICES) or not all(0 <= note <= 127 for note in notes):
        raise ValueError(f"a frame {shown(frame)}")
    sung = [note for note in notes if note != REST]
    if len(notes) == len(VOICES):
        return notes[::-1] if sung and sung[0] < sung[-1] else notes
    sung = sorted(sung, reverse=True)
    soprano, inner, bass = sung[:1], sung[1:-1], sung[1:][-1:]
    rests = [REST] * len(VOICES)
    return [*(soprano + rests)[:1], *(inner + rests)[:2], *(bass + rests)[:1]]
