"""The denoising experiment: its model keeps the length and ignores padding, its baseline gains, its files are sound."""

import io
import wave
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import dlcore as dl
from experiments import denoise
from tests.helpers.experiment_runs import make_config
from tests.helpers.packages import needs_package

pytestmark = needs_package(*(f"asterisk-core-sounds-{language}-wav" for language in ("en", "fr", "it", "ru")))
SMALL = {"limit": 20, "features": 4}


def test_padding_and_loudness_change_nothing():
    """A row is the same alone, with NaN in its padding, and up to its loudness."""
    model, generator = denoise.Model(denoise.Config(features=4)), np.random.default_rng(0)
    inputs, lengths = generator.standard_normal((2, 1500, 1), np.float32), np.array([1500, 1000])
    padded = np.where(np.arange(1500)[:, None] < lengths[:, None, None], inputs, np.nan)

    @jax.jit
    def run(inputs, lengths):
        params = model.init(jax.random.key(0), inputs, lengths, train=False)
        return model.apply(params, inputs, lengths, train=False)

    outputs = np.asarray(run(inputs, lengths))
    assert outputs.shape == inputs.shape
    assert not outputs[1, 1000:].any()
    np.testing.assert_allclose(run(padded, lengths), outputs, atol=1e-6)
    np.testing.assert_allclose(run(inputs * 100, lengths), outputs * 100, rtol=1e-3, atol=1e-3)
    alone = run(inputs[1:, :1000], lengths[1:])
    np.testing.assert_allclose(alone, outputs[1:, :1000], atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(1000, 9), (1024, 9), (1025, 10)])
def test_every_frame_of_a_recording_is_heard(samples, frames):
    model = denoise.Model(denoise.Config(features=4))
    inputs, lengths = np.ones((1, 1500, 1), np.float32), np.array([samples])
    run = lambda key: model.init_with_output(key, inputs, lengths, train=False, capture_intermediates=True)
    ((_, outputs),) = jax.jit(run)(jax.random.key(0))[1]["intermediates"]["Bidirectional_0"]["__call__"]
    assert np.flatnonzero(np.abs(outputs[0]).max(axis=-1)).tolist() == list(range(frames))


def test_the_voices_of_training_are_not_tested():
    experiment = denoise.experiment(make_config(denoise, **SMALL))
    assert set(experiment.eval_data) == {"all", "white", "pink", "babble"}
    (batch,) = experiment.eval_data["all"]
    english = list(dl.data.prompts("en", 20).values())
    for row in range(int(batch["mask"].sum())):
        clean = dl.data.waveforms_of(batch, row)["clean"]
        assert any(np.array_equal(clean, known) for known in english)


@pytest.mark.slow
def test_the_figures_show_gains_and_spectrograms():
    experiment = denoise.experiment(make_config(denoise, **SMALL))
    batch = experiment.eval_data["all"][0]
    params, model_state = jax.jit(experiment.init)(jax.random.key(0), batch)
    drawn = experiment.figures(params, model_state)
    assert [axes.get_title() for axes in drawn["spectrograms"].axes[:3]] == ["noisy", "enhanced", "clean"]
    model, subtraction, _ = drawn["gain_by_snr"].axes[0].lines
    assert model.get_xdata().tolist() == list(denoise.RATIOS)
    assert (subtraction.get_ydata() > 0).all()


@pytest.mark.slow
def test_the_baseline_gains():
    experiment = denoise.experiment(make_config(denoise, **SMALL))
    gains = experiment.modes["baseline"](None)
    assert gains["white/si_sdr_gain"] > 2
    assert set(gains) == {f"{name}/si_sdr_gain" for name in ("all", "white", "pink", "babble")}


def test_files_of_the_user_become_clean_files(tmp_path):
    """Another rate becomes 8 kHz; the content is read by the standard library."""
    (tmp_path / "mine.wav").write_bytes(dl.data.wav_bytes(np.sin(np.arange(44100) / 20), 44100))
    generate = denoise.experiment(make_config(denoise, **SMALL)).generate
    model = SimpleNamespace(predict=lambda inputs, lengths: inputs / 2)
    files = generate(model, [str(tmp_path / "mine.wav")])
    assert set(files) == {"mine_noisy.wav", "mine_enhanced.wav", "mine.png"}
    with wave.open(io.BytesIO(files["mine_enhanced.wav"])) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 8000)
    with pytest.raises(FileNotFoundError, match=r"path: got none\.wav, which is no file"):
        generate(model, ["none.wav"])
