"""Operations are counted as by hand, and the body of a scan counts once a step."""

import jax
import jax.numpy as jnp
import pytest

from dlcore.training.telemetry.flops import count_flops

MATRIX = jax.ShapeDtypeStruct((8, 8), "float32")
PRODUCT = 2 * 8**3  # operations of a product of two 8 × 8 matrices


def scanned(matrix, length):
    return jax.lax.scan(lambda product, _: (product @ matrix, None), matrix, None, length=length)[0]


def nested(matrix):
    return jax.lax.scan(lambda total, _: (total @ scanned(matrix, 3), None), matrix, None, length=5)[0]


def while_loop(matrix):
    return jax.lax.while_loop(lambda product: product[0, 0] < 7, lambda product: product @ matrix, matrix)


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (lambda matrix: matrix @ matrix @ matrix, 2),
        (lambda matrix: scanned(matrix, 10), 10),
        (lambda matrix: jax.jit(scanned, static_argnums=1)(matrix, 10), 10),
        (nested, 5 * (3 + 1)),
        (jax.checkpoint(nested), 5 * (3 + 1)),
        (while_loop, 1),
    ],
    ids=["no loop", "scan", "scan in jit", "nested scans", "remat", "while_loop"],
)
def test_products_are_counted_as_often_as_they_run(function, products):
    flops = count_flops(jax.jit(function).trace(MATRIX))
    assert flops == pytest.approx(products * PRODUCT, rel=0.05)  # the counters of the loops come on top


def test_the_gradient_of_a_scan_counts_its_products_three_times():
    gradient = jax.grad(lambda matrix: scanned(matrix, 10).sum())
    assert count_flops(jax.jit(gradient).trace(MATRIX)) == pytest.approx(3 * 10 * PRODUCT, rel=0.1)


def test_of_several_branches_the_largest_counts():
    """One branch runs, for instance that of the platform."""
    branches = [lambda matrix: scanned(matrix, 10), lambda matrix: scanned(matrix, 4)]
    chosen = lambda index, matrix: jax.lax.switch(index, branches, matrix)
    flops = count_flops(jax.jit(chosen).trace(jnp.int32(0), MATRIX))
    assert flops == pytest.approx(10 * PRODUCT, rel=0.2)  # the body of each loop counts once more


def test_without_the_cpu_nothing_is_counted(monkeypatch):
    traced = jax.jit(nested).trace(MATRIX)

    def refuse(backend):
        raise RuntimeError("unknown backend cpu")

    monkeypatch.setattr(jax, "local_devices", refuse)
    assert count_flops(traced) == 0


def test_a_program_without_floating_point_numbers_has_no_operations():
    assert count_flops(jax.jit(lambda values: jnp.flip(values)).trace(jnp.arange(4))) == 0
