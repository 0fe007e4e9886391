"""Where a forward pass overflows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.gradflow.measures.recurrence import Recurrence, trajectory
from dlcore.gradflow.measures.summary import first_nonfinite
from tests.helpers import systems


def test_first_nonfinite_state():
    grows = Recurrence(lambda w, h, x: h * w, jnp.array(10.0), jnp.ones((2, 1)), jnp.zeros((60, 2, 0)))
    grows = grows._replace(initial_state=jnp.array([[1.0], [0.0]]))
    assert first_nonfinite(trajectory(grows)).tolist() == [39, -1]
    assert first_nonfinite({"c": jnp.zeros((3, 2, 1)), "h": jnp.full((3, 2, 4), jnp.nan)}).tolist() == [0, 0]


@pytest.mark.parametrize("scale", [2.0, 3.0])
def test_an_expanding_relu_net_overflows_where_float32_ends(scale):
    """The same net in float64, which goes on, says when float32 has no number any more."""
    with jax.enable_x64(True):
        exact = systems.driven(dl.IdentityRNNCell(8), steps=200, batch=3, scale=scale, dtype="float64")
        beyond = np.abs(trajectory(exact)).max(axis=-1) > np.finfo(np.float32).max
        system = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), exact._replace(step=None))
        found = first_nonfinite(trajectory(system._replace(step=exact.step)))
    assert beyond[-1].all()
    assert found.tolist() == np.argmax(beyond, axis=0).tolist()
