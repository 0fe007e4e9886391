"""The encoder of raw speech has the paper's sizes, mixes no times, and needs its context alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

RATE, FRAMES = 16000, 150
PROFILES = {
    "paper": (dl.WaveformEncoder(640, 40, (80, 4000), 2, 20), 128, True, 640, 7_585_408),
    "authors_code": (dl.WaveformEncoder(640, 40, (20, 40), 2, 10), 128, True, 1280, 1_902_368),
    "authors_code, one direction": (dl.WaveformEncoder(640, 40, (20, 40), 2, 10), 128, False, 1280, 918_048),
}
SMALL = dl.WaveformEncoder(samples=8, filters=6, taps=(5, 12), channel_pool=3)
WAVES = np.random.default_rng(0).standard_normal((2, 240, 1), np.float32)


class CLSTM(nn.Module):
    encoder: dl.WaveformEncoder
    units: int
    bidirectional: bool

    @nn.compact
    def __call__(self, waveforms):
        frames = self.encoder(waveforms)
        _, outputs = dl.DeepRecurrent(dl.LSTMCell(self.units), 2, self.bidirectional)(frames)
        return frames, nn.Dense(2)(outputs)


@pytest.mark.parametrize("name", PROFILES)
def test_shapes_and_parameters_are_those_of_the_paper(name):
    encoder, units, bidirectional, features, count = PROFILES[name]
    model = CLSTM(encoder, units, bidirectional)
    waveforms = jax.ShapeDtypeStruct((1, 6 * RATE, 1), jnp.float32)
    (frames, outputs), variables = jax.eval_shape(model.init_with_output, jax.random.key(0), waveforms)
    assert frames.shape == (1, FRAMES, features)
    assert outputs.shape == (1, FRAMES, 2)
    params = variables["params"]
    biases = sum(
        params[part][layer]["bias"].size for part, layer in (("encoder", "conv_0"), ("encoder", "conv_1"))
    )
    total = sum(leaf.size for leaf in jax.tree.leaves(params)) - biases - params["Dense_0"]["bias"].size
    assert total == count


def apply(encoder=SMALL, seed=0, waveforms=WAVES, lengths=None, change=lambda params: params):
    params = encoder.init(jax.random.key(seed), waveforms)["params"]
    return encoder.apply({"params": change(params)}, waveforms, lengths)


def test_frames_are_those_of_a_loop():
    params = SMALL.init(jax.random.key(0), WAVES)["params"]
    first, second = (np.asarray(params[name]["kernel"]) for name in ("conv_0", "conv_1"))
    signal = np.pad(WAVES[0, :, 0], (2, 2))
    maps = np.stack([[signal[t : t + 5] @ first[:, 0, k] for k in range(6)] for t in range(240)])
    maps = np.maximum(maps, 0).reshape(120, 2, 6).max(1)
    maps = np.pad(maps, ((5, 6), (0, 0)))
    maps = np.stack([[(maps[t : t + 12] * second[..., k]).sum() for k in range(6)] for t in range(120)])
    expected = maps.reshape(120, 2, 3).max(-1).reshape(30, 8)
    np.testing.assert_allclose(apply()[0], expected, atol=1e-4)


def permuted(order):
    def change(params):
        last = {name: leaf[..., order] for name, leaf in params["conv_1"].items()}
        return {**params, "conv_1": last}

    return change


def test_the_order_of_the_channels_in_a_group_does_not_matter_and_that_of_times_does():
    plain = apply()
    np.testing.assert_array_equal(apply(change=permuted([2, 0, 1, 3, 5, 4])), plain)
    assert np.abs(apply(change=permuted([3, 0, 1, 2, 5, 4])) - plain).max() > 0.01
    assert np.abs(apply(waveforms=np.roll(WAVES, 8, axis=1)) - plain).max() > 0.01


def ported_pool(maps, size):
    """The channel pool of a published port: it reshapes ``[B, C, N]`` and pools the last axis, which is time."""
    batch, steps, channels = maps.shape
    return maps.swapaxes(1, 2).reshape(batch, steps, channels // size, size).max(-1)


def test_the_pool_of_a_published_port_mixes_times():
    """A change at one time changes outputs of one time in our pool, and of several in the port's."""
    maps = np.zeros((1, 12, 6), np.float32)
    changed = maps.copy()
    changed[0, 5] = 1
    ours, ported = (
        np.flatnonzero(np.abs(pool(changed, 3) - pool(maps, 3)).max((0, 2))).tolist()
        for pool in (dl.channel_pool, ported_pool)
    )
    assert ours == [5]
    assert len(ported) > 1


@pytest.mark.parametrize("taps", [(5, 12), (4, 9), (1, 1), (9, 20)])
def test_a_frame_depends_on_its_context_alone(taps):
    encoder = dl.WaveformEncoder(samples=8, filters=4, taps=taps, channel_pool=2)
    params = encoder.init(jax.random.key(0), WAVES)
    whole = encoder.apply(params, WAVES)
    context = encoder.context
    for first, last in ((context, 20), (12, 30)):
        part = WAVES[:, 8 * (first - context) : 8 * min(last + context, 30)]
        found = encoder.apply(params, part)[:, context : context + last - first]
        np.testing.assert_allclose(found, whole[:, first:last], atol=1e-5)


def test_a_row_is_the_same_without_its_padding():
    lengths = np.array([240, 80])
    padded = np.where(np.arange(240)[:, None] < lengths[:, None, None], WAVES, np.nan)
    frames = apply(waveforms=padded, lengths=lengths)
    alone = SMALL.apply({"params": SMALL.init(jax.random.key(0), WAVES)["params"]}, WAVES[1:, :80])
    np.testing.assert_allclose(frames[1, :10], alone[0], atol=1e-5)
    assert not np.asarray(frames[1, 10:]).any()


def test_long_filters_by_the_fourier_transform_are_those_of_the_direct_sum(monkeypatch):
    from dlcore.layers.convolution import waveform_encoder

    waves = np.random.default_rng(0).standard_normal((1, 3200, 1), np.float32)
    encoder = dl.WaveformEncoder(samples=320, filters=4, taps=(20, 400), channel_pool=2)
    params = encoder.init(jax.random.key(0), waves)
    value = lambda params: (encoder.apply(params, waves) ** 2).mean()
    run = lambda: (
        jax.jit(lambda params: encoder.apply(params, waves))(params),
        jax.jit(jax.grad(value))(params),
    )
    fast = run()
    monkeypatch.setattr(waveform_encoder, "LONG", 10_000)
    for found, expected in zip(jax.tree.leaves(fast), jax.tree.leaves(run()), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"taps": (5,)}, r"taps: got \(5,\)"),
        ({"time_pool": 3}, "time_pool: got 3, expected a divisor of 8"),
        ({"channel_pool": 4}, "channel_pool: got 4, expected a divisor of 6"),
        ({"filters": 0}, "filters: got 0"),
    ],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        dl.WaveformEncoder(**{"samples": 8, "filters": 6, "taps": (5, 9), "channel_pool": 3, **settings})


def test_bad_waveforms_are_named():
    with pytest.raises(
        ValueError, match=r"waveforms: got shape \(2, 239, 1\), expected .* multiple of 8 samples"
    ):
        apply(waveforms=WAVES[:, :239])
