"""Predictions in chunks are those for the whole waveform, wherever its parts are cut."""

import jax
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.runs import chunks

SAMPLES = 8


class Network(nn.Module):
    def setup(self):
        self.encoder = dl.WaveformEncoder(SAMPLES, filters=4, taps=(5, 12), channel_pool=2)
        self.layers = dl.DeepRecurrent(dl.LSTMCell(5), 2)
        self.head = nn.Dense(2)

    def __call__(self, waveforms):
        return self.read(None, self.encoder(waveforms))[1]

    def encode(self, waveforms, lengths):
        return self.encoder(waveforms, lengths)

    def read(self, carry, frames):
        carry, outputs = self.layers(frames, initial_carry=carry)
        return carry, self.head(outputs)


@pytest.fixture(scope="module")
def network():
    model = Network()
    variables = model.init(jax.random.key(0), np.zeros((1, SAMPLES, 1), np.float32))
    kernel = variables["params"]["encoder"]["conv_1"]["kernel"]
    variables["params"]["encoder"]["conv_1"]["kernel"] = 10 * kernel
    variables["params"]["encoder"]["conv_0"]["bias"] += (
        1.0  # zeros around the waveform are not those of its inside
    )
    return model, variables


@pytest.mark.parametrize("frames", [0, 1, 9, 10, 11, 13, 20, 47])
def test_chunks_give_what_the_whole_waveform_gives(network, frames, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_FRAMES", 10)
    model, variables = network
    wave = np.random.default_rng(frames).standard_normal(frames * SAMPLES + 3).astype(np.float32)
    call = lambda method: lambda *inputs: model.apply(variables, *inputs, method=method)
    context = model.bind(variables).encoder.context
    for cuts in ([], [1, 2, 70, 71], list(range(0, len(wave), 50))):
        found = list(
            chunks.predict_in_chunks(
                call("encode"), call("read"), None, np.split(wave, cuts), SAMPLES, context
            )
        )
        if not frames:
            assert not found
            continue
        expected = call("__call__")(wave[None, : frames * SAMPLES, None])[0]
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)
        assert max(map(len, found)) <= 10
