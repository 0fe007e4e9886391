"""Batches of noisy speech: ratios, kinds of noise, and rows whose babble is of other recordings."""

import pickle

import numpy as np

import dlcore as dl
from dlcore.data.speech.noisy_speech import NOISES, NoisySpeech, noisy_prompts


def recordings(count=8):
    """Waveforms in which each sample tells its recording and its place."""
    return [np.arange(100 * row + 1, 100 * row + 40 + row, dtype=np.float32) for row in range(count)]


def ratios(batch):
    clean, noise = batch["targets"][..., 0], (batch["inputs"] - batch["targets"])[..., 0]
    return 10 * np.log10((clean**2).sum(axis=1) / (noise**2).sum(axis=1))


def test_a_batch_is_a_function_of_its_step():
    data = dl.data.SyntheticBatches(NoisySpeech(recordings(), samples=30), 6, seed=0)
    batch = data[3]
    assert {name: field.shape for name, field in batch.items()} == {
        "inputs": (6, 30, 1),
        "targets": (6, 30, 1),
        "lengths": (6,),
        "snr": (6,),
        "noise": (6,),
    }
    again, another = pickle.loads(pickle.dumps(data))[3], data[4]
    for name in ("inputs", "targets"):
        np.testing.assert_array_equal(batch[name], again[name])
        assert (batch[name] != another[name]).any()
    np.testing.assert_allclose(ratios(batch), batch["snr"], atol=0.05)
    assert (abs(batch["snr"]) <= 5).all()


def test_the_target_is_a_part_of_the_recordings():
    task = NoisySpeech(recordings(), samples=30, snr=(0, 0))
    joined = np.tile(np.concatenate(recordings()), 2)
    for row in task(np.random.default_rng(0), 5)["targets"][..., 0]:
        start = int(np.flatnonzero(joined == row[0])[0])
        np.testing.assert_array_equal(row, joined[start : start + 30])


def test_whole_recordings_are_padded():
    waves = recordings()
    batch = noisy_prompts(waves, snr=(0.0, 10.0))
    assert batch["lengths"].tolist() == [len(wave) for wave in waves[::2]]
    assert batch["noise"].tolist() == [0, 1, 2, 0]
    assert batch["snr"].tolist() == [0, 0, 0, 10]
    for row, length in enumerate(batch["lengths"]):
        np.testing.assert_array_equal(batch["targets"][row, :length, 0], waves[2 * row])
        for name in ("inputs", "targets"):
            assert not batch[name][row, length:].any()
    np.testing.assert_allclose(ratios(batch), batch["snr"], atol=0.05)
    again = noisy_prompts(waves, snr=(0.0, 10.0))
    np.testing.assert_array_equal(batch["inputs"], again["inputs"])
    assert len(noisy_prompts(waves, limit=2)["inputs"]) == 2


def test_babble_is_of_recordings_that_are_no_rows():
    """Rows are silent here, so a sum of four voices is a multiple of the number that all other recordings hold."""
    waves = [np.full(50, value, np.float32) for value in (1e-3, 7.0) * 3]
    batch = noisy_prompts(waves)
    noise = (batch["inputs"] - batch["targets"])[NOISES.index("babble"), :, 0]
    np.testing.assert_allclose(noise, noise[0])


def test_a_faster_voice_is_higher():
    wave = np.sin(2 * np.pi * 100 * np.arange(8000) / 8000)
    rows = {}
    for speed in (0.8, 1.0, 1.25):
        task = NoisySpeech([wave], samples=8000, snr=(0, 0), speed=(speed, speed))
        spectrum = np.abs(np.fft.rfft(task(np.random.default_rng(0), 1)["targets"][0, :, 0]))
        rows[speed] = int(spectrum.argmax())
    assert rows == {0.8: 80, 1.0: 100, 1.25: 125}


def test_rows_without_their_padding():
    waves = recordings()
    batch = noisy_prompts(waves)
    parts = dl.data.waveforms_of(batch, 1, 2 * batch["inputs"])
    assert list(parts) == ["noisy", "enhanced", "clean"]
    np.testing.assert_array_equal(parts["clean"], waves[2])
    np.testing.assert_array_equal(parts["enhanced"], 2 * parts["noisy"])
    outputs = dl.data.process_rows(lambda wave: wave * 3, batch)
    np.testing.assert_array_equal(outputs, 3 * batch["inputs"])
