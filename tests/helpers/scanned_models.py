"""Models of many libraries with scans, each beside the same recurrence as single steps, in float64.

A function returns a loss of parameters, the parameters, and a `Loop` for each scan.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from tests.helpers.step_by_step import Loop

B, T, F, H = 2, 4, 3, 3
INPUTS = np.random.default_rng(0).normal(size=(B, T, F))
VALID = np.arange(T)[:, None] < np.array([4, 2])
FLOAT64 = {"param_dtype": jnp.float64}
steps_of = lambda inputs: [inputs[:, t] for t in range(inputs.shape[1])]


def like(shapes, seed=1):
    """Random numbers in a tree of these shapes."""
    normal = np.random.default_rng(seed).normal
    return jax.tree.map(lambda leaf: jnp.asarray(normal(scale=0.5, size=leaf.shape)), shapes)


def sequence_loss(outputs, last):
    """A loss of the outputs ``[B, T, H]`` and the last state."""
    weights = jnp.asarray(np.cos(np.arange(outputs.shape[1])))[:, None]
    return (jnp.sin(outputs) * weights).sum() + sum((leaf**2).sum() for leaf in jax.tree.leaves(last))


def read(states, outputs=lambda state: jax.tree.leaves(state)[-1]):
    """The same loss of a list of states, of which the outputs are a part."""
    return sequence_loss(jnp.stack([outputs(state) for state in states[1:]], axis=1), states[-1])


def linen():
    model = nn.RNN(nn.LSTMCell(H, **FLOAT64), return_carry=True)
    params = like(jax.eval_shape(model.init, jax.random.key(0), INPUTS)["params"])

    def loss(params):
        carry, outputs = model.apply({"params": params}, INPUTS)
        return sequence_loss(outputs, carry)

    cell = nn.LSTMCell(H, **FLOAT64)
    step = lambda params, state, x: cell.apply({"params": params["cell"]}, state, x)[0]
    zeros = jnp.zeros((B, H))
    return loss, params, [Loop(step, params, (zeros, zeros), steps_of(INPUTS), read)]


def nnx_rnn():
    cell = lambda: nnx.GRUCell(F, H, dtype=jnp.float64, rngs=nnx.Rngs(0), **FLOAT64)
    graph, params, rest = nnx.split(nnx.RNN(cell()), nnx.Param, ...)
    cell_graph, _, cell_rest = nnx.split(cell(), nnx.Param, ...)

    def loss(params):
        outputs = nnx.merge(graph, params, rest)(jnp.asarray(INPUTS), initial_carry=jnp.zeros((B, H)))
        return sequence_loss(outputs, outputs[:, -1])

    step = lambda params, state, x: nnx.merge(cell_graph, params["cell"], cell_rest)(state, x)[0]
    return loss, params, [Loop(step, params, jnp.zeros((B, H)), steps_of(jnp.asarray(INPUTS)), read)]


def haiku():
    import haiku as hk

    def run(inputs):
        core = hk.LSTM(H)
        outputs, last = hk.dynamic_unroll(core, jnp.swapaxes(inputs, 0, 1), core.initial_state(B))
        return sequence_loss(jnp.swapaxes(outputs, 0, 1), last)

    model = hk.without_apply_rng(hk.transform(run))
    cell = hk.without_apply_rng(hk.transform(lambda x, state: hk.LSTM(H)(x, state)[1]))
    params = like(jax.eval_shape(model.init, jax.random.key(0), INPUTS))
    step = lambda params, state, x: cell.apply(params, x, state)
    zeros = jnp.zeros((B, H))
    loop = Loop(
        step,
        params,
        hk.LSTMState(zeros, zeros),
        steps_of(INPUTS),
        lambda states: read(states, lambda s: s[0]),
    )
    return lambda params: model.apply(params, jnp.asarray(INPUTS)), params, [loop]


def equinox():
    import equinox as eqx

    cell = eqx.nn.GRUCell(F, H, key=jax.random.key(0), dtype=jnp.float64)
    params, rest = eqx.partition(cell, eqx.is_array)

    def run(params, inputs):
        advance = lambda state, x: (eqx.combine(params, rest)(x, state),) * 2
        return jax.lax.scan(advance, jnp.zeros(H), inputs)

    def loss(params):
        last, outputs = jax.vmap(run, in_axes=(None, 0))(params, INPUTS)
        return sequence_loss(outputs, last)

    step = lambda params, state, x: jax.vmap(eqx.combine(params, rest))(x, state)
    return loss, params, [Loop(step, params, jnp.zeros((B, H)), steps_of(INPUTS), read)]


def keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("needs KERAS_BACKEND=jax")
    cell = keras.layers.LSTMCell(H, activation=jnp.tanh, dtype="float64")  # that of Keras is in float32
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True, dtype="float64")
    layer.build((B, T, F))
    params = like([variable.value for variable in layer.trainable_variables])
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def loss(params):
        (outputs, *last), _ = layer.stateless_call(
            params, fixed, jnp.asarray(INPUTS), mask=jnp.asarray(VALID.T)
        )
        return sequence_loss(outputs, last)

    def step(params, state, now):
        (_, after), _ = cell.stateless_call(params, fixed, now[0], list(state))
        return [jnp.where(now[1][:, None], new, old) for new, old in zip(after, state, strict=True)]

    xs = list(zip(steps_of(INPUTS), VALID, strict=True))
    zeros = jnp.zeros((B, H))
    return loss, params, [Loop(step, params, [zeros, zeros], xs, lambda states: read(states, lambda s: s[0]))]


def plain_params(seed=1):
    zeros = jnp.zeros((H, H))
    return like({"w": zeros, "u": jnp.zeros((F, H)), "b": zeros[0], "v": zeros}, seed)


def plain_step(params, state, x):
    return jnp.tanh(state @ params["w"] + x @ params["u"] + params["b"])


def plain_loop(params, step=plain_step, inputs=INPUTS, readout=read):
    own = {name: params[name] for name in ("w", "u", "b")}
    return Loop(step, own, jnp.zeros((B, H)), steps_of(inputs), readout)


def by_hand():
    """The carry holds a counter and a random key, and the outputs are read out within the step."""
    params = plain_params()

    def loss(params):
        def step(carry, x):
            state, t, key = carry
            state = plain_step(params, state, x) * (1 + t)
            return (state, t + 1, jax.random.split(key)[0]), (state @ params["v"], t)

        first = jnp.zeros((B, H)), jnp.array(0), jax.random.key(0)
        (last, _, _), (outputs, _) = jax.lax.scan(step, first, jnp.swapaxes(jnp.asarray(INPUTS), 0, 1))
        return sequence_loss(jnp.swapaxes(outputs, 0, 1), last)

    step = lambda params, state, now: plain_step(params, state, now[0]) * (1 + now[1])
    loop = plain_loop(params, step, readout=lambda states: read(states, lambda state: state @ params["v"]))
    return loss, params, [loop._replace(xs=list(zip(loop.xs, range(T), strict=True)))]


def run_plain(params, inputs, step=plain_step, first=None, **options):
    advance = lambda state, x: (step(params, state, x),) * 2
    first = jnp.zeros((B, H)) if first is None else first
    last, outputs = jax.lax.scan(advance, first, jnp.swapaxes(jnp.asarray(inputs), 0, 1), **options)
    return last, jnp.swapaxes(outputs, 0, 1)


def nested():
    """Each step of the measured scan runs a scan of three steps."""
    params = plain_params()

    def substeps(params, state, x):
        return jax.lax.scan(lambda state, _: (plain_step(params, state, x), None), state, None, length=3)[0]

    def step(params, state, x):
        return plain_step(params, plain_step(params, plain_step(params, state, x), x), x)

    loss = lambda params: sequence_loss(*reversed(run_plain(params, INPUTS, substeps)))
    return loss, params, [plain_loop(params, step)]


def remat():
    params = plain_params()
    run = lambda params: sequence_loss(*reversed(run_plain(params, INPUTS, jax.checkpoint(plain_step))))
    return jax.checkpoint(run), params, [plain_loop(params)]


def vmapped():
    params = plain_params()

    def row(params, inputs):
        return jax.lax.scan(lambda state, x: (plain_step(params, state, x),) * 2, jnp.zeros(H), inputs)

    def loss(params):
        last, outputs = jax.jit(jax.vmap(row, in_axes=(None, 0)))(params, INPUTS)
        return sequence_loss(outputs, last)

    return loss, params, [plain_loop(params)]


def two_layers():
    params = {"lower": plain_params(), "upper": {**plain_params(2), "u": like(jnp.zeros((H, H)))}}
    run_upper = lambda lower: _states(plain_step, params["upper"], jnp.zeros((B, H)), steps_of(lower))

    def loss(params):
        _, outputs = run_plain(params["lower"], INPUTS)
        return sequence_loss(*reversed(run_plain(params["upper"], outputs)))

    stack = lambda states: jnp.stack(states[1:], axis=1)
    lower = plain_loop(params["lower"], readout=lambda states: read(run_upper(stack(states))))
    outputs = stack(_states(plain_step, params["lower"], jnp.zeros((B, H)), steps_of(INPUTS)))
    return loss, params, [lower, plain_loop(params["upper"], inputs=outputs)]


def _states(step, params, first, xs):
    states = [first]
    for x in xs:
        states.append(step(params, states[-1], x))
    return states


def bidirectional():
    """One direction flips the inputs, the other one scans in reverse."""
    params = [plain_params(seed) for seed in range(3)]
    join = lambda *outputs: sequence_loss(jnp.concatenate(outputs, axis=-1), [])

    def loss(params):
        forward = run_plain(params[0], INPUTS)[1]
        flipped = run_plain(params[1], INPUTS[:, ::-1])[1][:, ::-1]
        return join(forward, flipped, run_plain(params[2], INPUTS, reverse=True)[1])

    stack = lambda states: jnp.stack(states[1:], axis=1)
    inputs = [INPUTS, INPUTS[:, ::-1], INPUTS[:, ::-1]]
    loops = []
    for index in range(3):

        def readout(states, index=index):
            others = [
                stack(_states(plain_step, params[place], jnp.zeros((B, H)), steps_of(inputs[place])))
                for place in range(3)
            ]
            others[index] = stack(states)
            return join(others[0], others[1][:, ::-1], others[2][:, ::-1])

        loops.append(plain_loop(params[index], inputs=inputs[index], readout=readout))
    return loss, params, loops


def learned_start():
    params = {**plain_params(), "first": like(jnp.zeros(H))}

    def loss(params):
        first = jnp.broadcast_to(params["first"], (B, H))
        return sequence_loss(*reversed(run_plain(params, INPUTS, first=first)))

    return loss, params, [plain_loop(params)._replace(first=jnp.broadcast_to(params["first"], (B, H)))]


def masked(zeros=True):
    """A short row keeps its state; its outputs are 0 there, or the state that the step would have had."""
    params = plain_params()
    if not zeros:
        del params["v"]

    def loss(params):
        def advance(state, now):
            new = plain_step(params, state, now[0])
            valid = now[1][:, None]
            return jnp.where(valid, new, state), jnp.where(valid, new, 0.0) if zeros else new

        xs = jnp.swapaxes(jnp.asarray(INPUTS), 0, 1), jnp.asarray(VALID)
        last, outputs = jax.lax.scan(advance, jnp.zeros((B, H)), xs)
        return sequence_loss(jnp.swapaxes(outputs, 0, 1), last)

    def step(params, state, now):
        new = plain_step(params, state if zeros else state[0], now[0])
        valid = now[1][:, None]
        return jnp.where(valid, new, state) if zeros else (jnp.where(valid, new, state[0]), new)

    def readout(states):
        if zeros:
            outputs = [
                jnp.where(valid[:, None], state, 0) for valid, state in zip(VALID, states[1:], strict=True)
            ]
            return sequence_loss(jnp.stack(outputs, axis=1), states[-1])
        return sequence_loss(jnp.stack([state[1] for state in states[1:]], axis=1), states[-1][0])

    loop = plain_loop(params, step, readout=readout)
    first = jnp.zeros((B, H))
    return (
        loss,
        params,
        [loop._replace(first=first if zeros else (first, first), xs=list(zip(loop.xs, VALID, strict=True)))],
    )


def attending():
    """Each row attends to its own memory, which comes from parameters outside of the scan."""
    params = plain_params()
    remember = lambda params: jnp.sin(jnp.asarray(INPUTS) @ params["u"])

    def step(params, state, x, memory):
        weights = jax.nn.softmax(jnp.einsum("bsh,bh->bs", memory, state))
        return jnp.tanh(state @ params["w"] + jnp.einsum("bs,bsh->bh", weights, memory) + x.sum())

    def loss(params):
        own = functools.partial(step, memory=remember(params))
        return sequence_loss(*reversed(run_plain(params, INPUTS, own)))

    loop = plain_loop(params, functools.partial(step, memory=remember(params)))
    return loss, params, [loop._replace(params={"w": params["w"]})]


def complex_diagonal():
    params = {"w": like(jnp.zeros((2, H)))}
    value = lambda params: params["w"][0] + 1j * params["w"][1]
    inputs = jax.lax.complex(*like([jnp.zeros((B, T, H))] * 2))
    step = lambda value, state, x: value * state + x

    def loss(params):
        last, outputs = run_plain(value(params), inputs, step, jnp.zeros((B, H), complex))
        return sequence_loss(outputs.real, last.imag)

    def pairs(params, state, x):
        after = step(value(params), state[..., 0] + 1j * state[..., 1], x)
        return jnp.stack([after.real, after.imag], axis=-1)

    def readout(states):
        outputs = jnp.stack([state[..., 0] for state in states[1:]], axis=1)
        return sequence_loss(outputs, states[-1][..., 1])

    return loss, params, [Loop(pairs, params, jnp.zeros((B, H, 2)), steps_of(inputs), readout)]


def counted_loop():
    params = plain_params()

    def loss(params):
        inputs = jnp.asarray(INPUTS)
        body = lambda t, state: plain_step(params, state, inputs[:, t])
        return (jax.lax.fori_loop(0, T, body, jnp.zeros((B, H))) ** 2).sum()

    return loss, params, [plain_loop(params, readout=lambda states: (states[-1] ** 2).sum())]


def own_derivative():
    params = plain_params()
    run = lambda params: sequence_loss(*reversed(run_plain(params, INPUTS)))
    with_rule = jax.custom_vjp(run)
    with_rule.defvjp(functools.partial(jax.vjp, run), lambda pull, cotangent: pull(cotangent))
    return with_rule, params, [plain_loop(params)]


def derived_weights():
    """The kernel enters with a norm of 1, and the loss uses it outside of the scan as well."""
    params = plain_params()
    normalized = lambda params: {**params, "w": params["w"] / jnp.sqrt((params["w"] ** 2).sum())}
    use = lambda params, outputs: (outputs @ params["w"]).sum()

    def loss(params):
        last, outputs = run_plain(normalized(params), INPUTS)
        return sequence_loss(outputs, last) + use(params, outputs)

    readout = lambda states: read(states) + use(params, jnp.stack(states[1:], axis=1))
    return loss, params, [plain_loop(normalized(params), readout=readout)]


def mixing_rows():
    """A norm over the batch: the rows influence each other, so all of them are one."""
    params = plain_params()
    step = lambda params, state, x: plain_step(params, state - state.mean(axis=0), x)
    one_row = lambda params, state, x: step(params, state[0], x)[None]
    loss = lambda params: sequence_loss(*reversed(run_plain(params, INPUTS, step)))
    loop = plain_loop(params, one_row, readout=lambda states: read([state[0] for state in states]))
    return loss, params, [loop._replace(first=jnp.zeros((1, B, H)))]


MODELS = {
    "linen": linen, "nnx": nnx_rnn, "haiku": haiku, "equinox": equinox, "keras": keras,
    "by hand": by_hand, "nested": nested, "remat": remat,
    "vmap": vmapped, "two layers": two_layers, "bidirectional": bidirectional, "learned start": learned_start,
    "masked": masked, "masked, outputs unmasked": functools.partial(masked, zeros=False), "attending": attending,
    "complex": complex_diagonal, "fori_loop": counted_loop, "own derivative": own_derivative,
    "derived weights": derived_weights, "rows that mix": mixing_rows,
}  # fmt: skip
