"""Good calls of the functions of waveforms: data, loss, metric and figures."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import dlcore as dl
from tests.helpers.calls.kinds import (
    Argument,
    Call,
    by_name,
    fields,
    floats,
    function,
    integer,
    integers,
    kind,
    label,
    number,
    numbers,
    sequence,
)

WAVE = np.linspace(-1, 1, 8, dtype=np.float32)
NO_WAV, NO_AUDIO = "which is no WAV file", "which is no audio file"
GENERATOR = kind(np.random.default_rng(0), {"None": None, "text": "text", "3": 3, "a list": [1]})
BAD_WAVES = {
    "None": None,
    "text": "text",
    "an object": object(),
    "complex numbers": WAVE.astype(np.complex64),
    "rank 2": WAVE[None],
    "a 0-d array": WAVE[0],
    "nothing": WAVE[:0],
    "NaN": WAVE * np.nan,
}


def call(run: Callable[..., Any], name: str = "", /, **arguments: Argument) -> Call:
    return Call(f"speech: {name or run.__name__}", run, arguments, traced=False)


def waveform(*names: str) -> Argument:
    return kind(WAVE, BAD_WAVES, names=names)


def waveforms() -> Argument:
    bad = {f"{name} in it": [WAVE, value] for name, value in BAD_WAVES.items()}
    return kind([WAVE, WAVE], {**bad, "None": None, "text": "text", "3": 3, "no waveform": []})


def speech() -> Iterator[Call]:
    infinite = (float("inf"), float("nan"))
    rate, samples = integer(8000), integer(4)
    yield call(dl.data.wav_bytes, waveform=waveform(), rate=rate)
    path = kind(__file__, {"None": None, "3": 3, "empty": ""})
    yield call(of_this_file(dl.data.read_wav, NO_WAV), "read_wav", path=path, rate=rate)
    paths = kind([__file__], {"None": None, "text": __file__, "3": 3, "a number in it": [3]}, names=("path",))
    yield call(of_this_file(dl.data.read_wavs, NO_WAV), "read_wavs", paths=paths, rate=rate)
    exponent = number(1.0, wrong=infinite)
    yield call(dl.data.colored_noise, generator=GENERATOR, samples=samples, exponent=exponent)
    yield call(dl.data.babble, generator=GENERATOR, recording=waveform(), samples=samples, voices=integer(2))
    shorter = waveform("clean").also(shorter=WAVE[:3])
    yield call(dl.data.mix, clean=waveform(), noise=shorter, snr=number(0.0, wrong=infinite))
    pair = {
        "None": None,
        "3": 3,
        "text": "-5",
        "one": (1.0,),
        "falling": (5.0, -5.0),
        "text in it": ("a", "b"),
    }
    yield call(
        dl.data.NoisySpeech,
        waveforms=waveforms(),
        samples=samples.also(**{"more than there are": 17}),
        snr=kind((-5.0, 5.0), pair),
        speed=kind((0.5, 2.0), {**pair, "zero": (0.0, 1.0)}),
    )
    several = kind(
        (0.0, 5.0), {"None": None, "text": "0", "NaN": (0.0, np.nan), "none": (), "rank 2": [[0.0]]}
    )
    yield call(
        dl.data.noisy_prompts,
        waveforms=waveforms().also(**{"one waveform": [WAVE]}),
        snr=several,
        limit=integer(1, optional=True),
    )
    batch = dl.data.noisy_prompts([WAVE, WAVE])
    rows = kind(batch, {"None": None, "text": "text", "no field": {}}, names=("batch", "inputs", "targets"))
    outputs = {"text": "text", "of another shape": batch["inputs"][:, 1:]}
    index = integer(0, least=0).also(too_large=1)
    yield call(dl.data.waveforms_of, batch=rows, row=index, outputs=kind(batch["inputs"], outputs))
    method = function(lambda wave: wave)
    yield call(dl.data.process_rows, method=method, batch=rows)
    share = number(0.5, wrong=(-0.1, 1.1))
    yield call(
        dl.data.spectral_subtraction,
        noisy=waveform(),
        factor=number(2.0, wrong=(-1.0, float("inf"))),
        floor=share,
        quantile=share,
    )
    wrong = {"None": None, "text": "text", "a list": [WAVE], "waveforms": {"a": WAVE}, "no noisy": {"a": {}}}
    recordings = kind({"a": {"noisy": WAVE}}, wrong)
    yield call(dl.data.listening_files, recordings=recordings, enhance=method, rate=rate)
    waves = by_name(WAVE, kind(WAVE, {name: BAD_WAVES[name] for name in list(BAD_WAVES)[:-1]}))
    yield call(dl.plots.spectrograms, waveforms=waves, rate=rate, title=label())
    yield call(dl.plots.gain_by_snr, snr=numbers(3), gains=by_name([1.0, 2.0, 3.0], numbers(3)))
    yield from distortions()
    yield from contours()


def of_this_file(read: Callable[..., Any], fault: str) -> Callable[..., Any]:
    """A reader of files for which this one, which it refuses with ``fault``, stands for a good one."""

    def run(**arguments: Any) -> None:
        try:
            read(**arguments)
        except ValueError as error:
            if fault not in str(error):
                raise

    return run


def distortions() -> Iterator[Call]:
    waves = floats(2, 8, taken=("a list", "integers")).without("nothing")
    outputs, targets = waves._replace(names=("targets",)), waves._replace(names=("outputs",))
    mask = kind(
        np.ones(2, bool), {"text": "text", "of -1": np.full(2, -1), "of another shape": np.ones(3, bool)}
    )
    yield call(dl.metrics.si_sdr, outputs=outputs, targets=targets, mask=mask)
    batch = fields(
        {"targets": np.ones((2, 8), np.float32)},
        more={"other targets": {"targets": np.ones((2, 7), np.float32)}},
        names=("batch", "outputs"),
    )
    batch = batch._replace(taken=frozenset({"targets that are a list"}))
    yield call(dl.losses.si_sdr, outputs=outputs, batch=batch)


def contours() -> Iterator[Call]:
    yield from contour_metrics()
    long = waveform()._replace(good=np.tile(WAVE, 10))
    rate = integer(1000).also(no_multiple_of_25=1001)
    yield call(dl.data.energy, waveform=long, rate=rate)
    yield call(dl.data.energy_range, waveform=long, rate=rate, seconds=number(1.0, wrong=(0.0,)))
    yield call(dl.data.loudness, waveform=long, rate=rate)
    path = kind(__file__, {"None": None, "3": 3, "empty": ""})
    rate_of_a_file = rate.without("no multiple of 25")
    yield call(of_this_file(dl.data.read_audio, NO_AUDIO), "read_audio", path=path, rate=rate_of_a_file)
    part = number(1.0, wrong=(0.0, float("inf")))
    stream = lambda **arguments: list(dl.data.stream_audio(**arguments))
    yield call(of_this_file(stream, NO_AUDIO), "stream_audio", path=path, rate=rate_of_a_file, seconds=part)
    frames, syllables = integer(4), number(4.0, wrong=(0.0, float("inf")))
    spread = number(4.0, wrong=(-1.0, float("inf")))
    yield call(
        dl.data.synthetic_speech,
        generator=GENERATOR,
        frames=frames,
        rate=rate,
        pitch=number(120.0, wrong=(0.0, float("inf"))),
        pitch_range=spread,
        level_range=spread,
        syllables=syllables,
    )
    known = dl.data.Recording("a", np.ones(8, np.float32), np.ones((4, 1), np.float32))
    recordings = sequence([known], more={"another number of samples": [known._replace(waveform=WAVE[:7])]})
    yield call(dl.data.contour_sequences, recordings=recordings, frames=frames)
    yield call(_window, "ContourWindows", recordings=recordings, frames=frames, examples=integer(2))
    lists = sequence([WAVE], more={"of other lengths": [WAVE[:3]]}, names=("predicted", "gold"))
    yield call(dl.data.choose_postprocessing, predicted=lists, gold=lists)


def _window(recordings: Any, frames: Any, examples: Any) -> None:
    dl.data.ContourWindows(recordings, frames)(np.random.default_rng(0), examples)


def contour_metrics() -> Iterator[Call]:
    values = floats(2, 3, 1, taken=("a list", "integers")).without("nothing")
    outputs, targets = values._replace(names=("targets",)), values._replace(names=("outputs",))
    mask = kind(
        np.ones(2, bool), {"text": "text", "of -1": np.full(2, -1), "of another shape": np.ones(3, bool)}
    )
    recordings = integers(0, 1, optional=True, taken=("a list",)).without("-1")
    count, center = integer(2), number(0.5, wrong=(float("inf"),))
    sums = {"outputs": outputs, "targets": targets, "mask": mask, "recordings": recordings}
    for score in (dl.metrics.CCC, dl.metrics.RecordingCCC, dl.metrics.CCCLoss):
        yield call(score.of, score.__name__, **sums, count=count, center=center)
    batch = fields({"targets": np.ones((2, 3, 1), np.float32)}, names=("batch", "outputs"))
    batch = batch._replace(taken=frozenset({"targets that are a list"}))
    yield call(dl.losses.concordance, outputs=outputs, batch=batch)
