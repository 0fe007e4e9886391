"""Frames are generated voice by voice, as a loop in Python does it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl

TABLE = (
    np.random.default_rng(0).standard_normal((3, 6, 6, 6)).astype(np.float32)
)  # voice, before, above, note


def read(carry, frame, time):
    return carry + frame.sum(-1), (carry + frame[:, -1] + time) % 6


def predict(context, frame, v):
    return jnp.asarray(TABLE)[v, context, frame[:, v - 1] if v else 0 * context]


def by_hand(given, steps, draw):
    frames, carry, before = [], 0, [0, 0, 0]
    for time in range(steps):
        carry, context = carry + sum(before), (carry + before[-1] + time) % 6
        frame = [0, 0, 0]
        for v in range(3):
            drawn = draw(TABLE[v, context, frame[v - 1] if v else 0], time * 3 + v)
            frame[v] = given[time][v] if time < len(given) else drawn
        frames.append(frame)
        before = frame
    return frames


@pytest.mark.parametrize("given", [[], [[5, 1, 2]], [[5, 1, 2], [0, 0, 3]]])
def test_greedy_frames_are_those_of_a_loop(given):
    opening = jnp.asarray(given, jnp.int32).reshape(1, -1, 3)
    frames = jax.jit(lambda: dl.generate_frames(read, predict, jnp.zeros(1, int), opening, 8))()
    assert frames.shape == (1, 8, 3)
    assert frames[0].tolist() == by_hand(given, 8, lambda logits, _: int(logits.argmax()))


def test_draws_are_those_of_the_keys():
    key, sampler = jax.random.key(3), dl.sample(temperature=2.0, top_k=4)

    def draw(logits, place):
        return int(sampler(jax.random.fold_in(key, place), jnp.asarray(logits)[None])[0])

    given = jnp.zeros((1, 0, 3), jnp.int32)
    frames = dl.generate_frames(read, predict, jnp.zeros(1, int), given, 5, key, sampler=sampler)
    assert frames[0].tolist() == by_hand([], 5, draw)


def test_rows_do_not_depend_on_each_other():
    given = jnp.array([[[5, 1, 2]], [[0, 2, 3]]])
    both = dl.generate_frames(read, predict, jnp.zeros(2, int), given, 6)
    for row in range(2):
        alone = dl.generate_frames(read, predict, jnp.zeros(1, int), given[row : row + 1], 6)
        assert both[row].tolist() == alone[0].tolist()


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"given": jnp.zeros((1, 3), int)}, ValueError, r"given: got shape \(1, 3\)"),
        ({"given": jnp.zeros((1, 1, 3))}, TypeError, "given: got"),
        ({"given": jnp.zeros((1, 5, 3), int)}, ValueError, "steps: got 4"),
        ({"steps": 0}, ValueError, "steps: got 0"),
        ({"read": None}, TypeError, "read: got None"),
        ({"predict": 3}, TypeError, "predict: got 3"),
        ({"sampler": lambda rng, logits: logits}, TypeError, "sampler: got"),
        ({"rng": 3}, TypeError, "rng: got 3"),
    ],
)
def test_bad_arguments_are_named(change, error, named):
    arguments = {"read": read, "predict": predict, "carry": jnp.zeros(1, int), "steps": 4}
    with pytest.raises(error, match=named):
        dl.generate_frames(**{**arguments, "given": jnp.zeros((1, 0, 3), int), **change})
