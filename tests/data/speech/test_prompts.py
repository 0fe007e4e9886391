"""Prompts are found in the folder of their package; tones, silence, links and empty files are left out."""

import numpy as np
import pytest
from scipy.io import wavfile

from dlcore.data.speech.prompts import LANGUAGES, SOUNDS, prompts
from tests.helpers.packages import needs_package

EVERY = needs_package(*(f"asterisk-core-sounds-{language}-wav" for language in LANGUAGES))


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """The sounds of a pretended Russian package."""
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    folder = tmp_path / "asterisk-core-sounds-ru-wav" / SOUNDS
    voice = folder / "ru_RU_f_Someone"
    for place, name in enumerate(("hello", "digits/1", "digits/2", "letters/a", "silence/1", "beep", "is")):
        (voice / name).parent.mkdir(parents=True, exist_ok=True)
        samples = np.full(place + 1 if name != "is" else 0, 2**14, np.int16)
        wavfile.write(voice / f"{name}.wav", 8000, samples)
    for link in ("ru", "ru_RU"):
        (folder / link).symlink_to(voice.name)
    return folder


def test_speech_is_read_once(sounds):
    found = prompts("ru")
    assert {name: len(wave) for name, wave in found.items()} == {
        "hello": 1,
        "digits/1": 2,
        "digits/2": 3,
        "letters/a": 4,
    }
    assert found["hello"].dtype == np.float32
    assert found["hello"].tolist() == [0.5]


def test_a_limit_keeps_the_first_of_the_same_order(sounds):
    assert list(prompts("ru", limit=3)) == list(prompts("ru"))[:3]
    assert list(prompts("ru")) != sorted(prompts("ru"))


def test_a_package_without_its_sounds_is_named(sounds, tmp_path):
    (tmp_path / "asterisk-core-sounds-it-wav").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"prompts: got no folder it_\* in .*; launch/data prompts|remove it"
    ):
        prompts("it")


def test_bad_arguments_are_named(sounds):
    with pytest.raises(ValueError, match="language: got 'de', expected"):
        prompts("de")
    for limit, error in ((0, ValueError), ("3", TypeError), (2.5, TypeError)):
        with pytest.raises(error, match="limit: got"):
            prompts("ru", limit=limit)
    with pytest.raises(FileNotFoundError, match="launch/data"):
        prompts("en")


@EVERY
@pytest.mark.parametrize("language", LANGUAGES)
def test_real_prompts_are_waveforms(language):
    for name, wave in prompts(language, limit=5).items():
        assert wave.ndim == 1, name
        assert 0.01 < np.abs(wave).max() <= 1


@pytest.mark.slow
@EVERY
def test_the_real_prompts_have_their_known_length():
    minutes = {}
    for language in LANGUAGES:
        found = prompts(language)
        assert 500 < len(found) < 600
        minutes[language] = sum(map(len, found.values())) / 8000 / 60
    assert {language: round(length) for language, length in minutes.items()} == {
        "en": 24,
        "es": 30,
        "fr": 25,
        "it": 23,
        "ru": 24,
    }
