"""Telephone prompts: real speech of four persons in five languages."""

import zlib
from pathlib import Path

import numpy as np

from dlcore.data.packages import package_folder
from dlcore.data.speech.wav import read_wav
from dlcore.utils.checks import check_choice, check_integer

PROMPT_RATE = 8000
"""The sampling rate of `prompts` in Hz."""

LANGUAGES = ("en", "es", "fr", "it", "ru")
SOUNDS = "usr/share/asterisk/sounds"
NO_SPEECH = {
    *("ascending-2tone", "descending-2tone", "beep", "beeperr", "confbridge-join", "confbridge-leave"),
    "tt-monkeys",
}


def prompts(language: str, limit: int | None = None) -> dict[str, np.ndarray]:
    """Recorded telephone prompts of Asterisk, 23 to 30 minutes of speech in each language (CC BY-SA 3.0, CC BY 3.0).

    Each language has one voice: Allison Smith speaks English and Spanish, June Wallack French, Carlo Flora Italian, and
    a woman of ivrvoice.ru Russian. So English is a new voice only for a model that was not trained on Spanish. A prompt
    has 0.2 to 86 s, half of them less than 1.5 s. Tones, beeps, silence and the monkeys of ``tt-monkeys`` are left out.

    Args:
        language: "en", "es", "fr", "it" or "ru".
        limit: how many prompts are read, at least 1; None: all, about 540.

    Returns:
        Waveforms by name, such as ``"digits/1"``: float32 ``[N]`` in [-1, 1] at `PROMPT_RATE`, 8000 Hz. Their order has
        nothing to do with their names and is the same everywhere, so that any part of them is a sample of all.

    Raises:
        ValueError: the language is another one, or the limit is below 1.
        TypeError: the limit is not an integer.
        FileNotFoundError: the package ``asterisk-core-sounds-LANGUAGE-wav`` is not there; ``launch/data prompts``.
    """
    check_choice("language", language, LANGUAGES)
    if limit is not None:
        check_integer("limit", limit)
    folder = _voice_folder(language)
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.wav")}
    names = sorted((name for name in found if _is_speech(name, found[name])), key=_order)
    return {name: read_wav(found[name], PROMPT_RATE) for name in names[:limit]}


def _voice_folder(language: str) -> Path:
    """The folder of a voice, such as ``en_US_f_Allison``; shorter names are links to it."""
    folder = package_folder(f"asterisk-core-sounds-{language}-wav") / SOUNDS
    voices = [
        path for path in sorted(folder.glob(f"{language}_*")) if path.is_dir() and not path.is_symlink()
    ]
    if not voices:
        raise FileNotFoundError(
            f"prompts: got no folder {language}_* in {folder}, expected the sounds of the package; remove it and call "
            "launch/data prompts"
        )
    return voices[0]


def _is_speech(name: str, path: Path) -> bool:
    header = 44
    return not name.startswith("silence/") and name not in NO_SPEECH and path.stat().st_size > header


def _order(name: str) -> tuple[int, str]:
    return zlib.crc32(name.encode()), name
