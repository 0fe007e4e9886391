"""All loops of a program are either measured or listed with the reason."""

import jax
import jax.numpy as jnp

import dlcore as dl
from dlcore.gradflow.models.program import trace_program
from dlcore.gradflow.models.program_scans import find_scans


def powers(weight, first=1.0):
    return jax.lax.scan(lambda state, _: (weight * state, None), first, None, length=3)[0]


def printed(state, _):
    jax.debug.print("{}", state)
    return 2 * state, None


LOOPS = {
    "scan": (powers, 1, []),
    "jit, remat and vmap": (
        lambda w: jax.jit(jax.checkpoint(jax.vmap(powers)))(w * jnp.ones(2)).sum(),
        1,
        [],
    ),
    "within a scan": (
        lambda w: jax.lax.scan(lambda h, _: (powers(w, h), None), 1.0, None, 2)[0],
        1,
        ["each step of"],
    ),
    "fori_loop": (lambda w: jax.lax.fori_loop(0, 3, lambda _, h: w * h, 1.0), 1, []),
    "dynamic fori_loop": (
        lambda w: jax.lax.fori_loop(0, w.astype(int), lambda _, h: w * h, 1.0),
        0,
        ["known only"],
    ),
    "while": (
        lambda w: jax.lax.while_loop(lambda h: h < 9, lambda h: h + powers(w), w),
        0,
        ["known only", "it runs within while"],
    ),
    "cond": (lambda w: jax.lax.cond(w > 0, powers, jnp.sin, w), 0, ["it runs within cond"]),
    "map": (lambda w: jax.lax.map(powers, w * jnp.ones(2)).sum(), 0, ["within lax.map, which has no state"]),
    "integers": (lambda w: w * powers(2, 1), 0, ["no floating point numbers"]),
    "effects": (lambda w: jax.lax.scan(printed, w, None, 2)[0], 0, ["it has effects"]),
    "nothing": (jnp.sin, 0, []),
}


def test_every_loop_is_found_or_listed():
    for name, (loss, scans, reasons) in LOOPS.items():
        found, unmeasured = find_scans(trace_program(loss, (jnp.float32(0.5),)))
        assert len(found) == scans, name
        assert len(unmeasured) == len(reasons), (name, unmeasured)
        assert all(reason in text for reason, text in zip(reasons, unmeasured, strict=True)), unmeasured


def test_what_the_cells_of_layers_run_is_not_found_again():
    layer, inputs = dl.Recurrent(dl.GRUCell(2)), jnp.ones((1, 3, 2))
    params = layer.init(jax.random.key(0), inputs)

    def loss(params):
        before = powers(params["params"]["cell"]["bias"][0])
        return before + layer.apply(params, inputs)[1].sum() + powers(before)

    found, unmeasured = find_scans(trace_program(loss, (params,)))
    assert [scan.cells for scan in found] == [0, 1]
    assert unmeasured == []
