"""The equations of the LSTM with peepholes against the NumPy loop, and their differential against JAX's."""

import numpy as np

from dlcore.ops.peephole_lstm import PeepholeKernels, PeepholeLstm
from tests.helpers import reference
from tests.helpers.equations import UNITS, check_differential, check_step


def with_peepholes(kernels):
    return PeepholeKernels(kernels, np.random.default_rng(1).normal(size=3 * UNITS).astype(np.float32))


def peephole_step(params, carry, inputs):
    return reference.peephole_lstm({**params, "peephole_kernel": params["peepholes_kernel"]}, carry, inputs)


def test_a_step_equals_the_papers():
    check_step(PeepholeLstm(), peephole_step, gates=4, carry_parts=2, more=with_peepholes)


def test_the_differential_is_the_derivative_of_the_step():
    check_differential(PeepholeLstm(), gates=4, carry_parts=2, more=with_peepholes)
