"""The logits of a symbol depend on the symbols before it alone, and follow the equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl

GENERATOR = np.random.default_rng(0)
STATE = GENERATOR.standard_normal((2, 5, 3)).astype(np.float32)
FRAMES = GENERATOR.integers(0, 7, (2, 5, 3)).astype(np.int32)
HEAD = dl.ChainHead(symbols=3, classes=7, features=4, embedding=2)


@pytest.fixture(scope="module")
def params():
    shapes = jax.eval_shape(HEAD.init, jax.random.key(0), STATE, FRAMES)["params"]
    return jax.tree.map(lambda leaf: GENERATOR.standard_normal(leaf.shape).astype(np.float32), shapes)


def by_hand(params, state, frame, v):
    known = [params[f"known_{u}"]["embedding"][frame[u]] for u in range(v)]
    hidden = np.concatenate([state, *known]) @ params[f"hidden_{v}"]["kernel"] + params[f"hidden_{v}"]["bias"]
    return np.maximum(hidden, 0) @ params[f"logits_{v}"]["kernel"] + params[f"logits_{v}"]["bias"]


def test_logits_follow_the_equation(params):
    logits = HEAD.apply({"params": params}, STATE, FRAMES)
    expected = [
        [[by_hand(params, state, frame, v) for v in range(3)] for state, frame in zip(*row, strict=True)]
        for row in zip(STATE, FRAMES, strict=True)
    ]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_symbol_does_not_see_itself_or_those_after_it(params):
    logits = HEAD.apply({"params": params}, STATE, FRAMES)
    for v in range(3):
        others = FRAMES.copy()
        others[..., v:] = (others[..., v:] + 1) % 7
        alone = HEAD.apply({"params": params}, STATE, jnp.asarray(others), v, method="predict")
        np.testing.assert_allclose(alone, logits[..., v, :], rtol=1e-5, atol=1e-5)


def test_probabilities_of_all_frames_sum_to_one(params):
    frames = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    state = np.broadcast_to(STATE[0, 0], (len(frames), 3))
    logs = jax.nn.log_softmax(HEAD.apply({"params": params}, state, jnp.asarray(frames)))
    chosen = np.take_along_axis(np.asarray(logs), frames[..., None], -1).sum((1, 2))
    assert np.exp(chosen).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("run", "error", "named"),
    [
        (lambda: dl.ChainHead(0, 7, 4), ValueError, "symbols: got 0"),
        (lambda: dl.ChainHead(3, 7.5, 4), TypeError, "classes: got 7.5"),
        (
            lambda: HEAD.init(jax.random.key(0), STATE, FRAMES[..., :2]),
            ValueError,
            r"frames: got shape \(2, 5, 2\)",
        ),
        (lambda: HEAD.init(jax.random.key(0), FRAMES, FRAMES), TypeError, "state: got"),
        (lambda: HEAD.init(jax.random.key(0), STATE, STATE), TypeError, "frames: got"),
        (lambda: HEAD.init(jax.random.key(0), STATE, FRAMES, 3, method="predict"), ValueError, "v: got 3"),
    ],
)
def test_bad_arguments_are_named(run, error, named):
    with pytest.raises(error, match=named):
        run()
