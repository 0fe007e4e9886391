"""The equations of the LSTM with a projection against the NumPy loop, and their differential against JAX's."""

import numpy as np

from dlcore.ops.projected_lstm import ProjectedKernels, ProjectedLstm
from tests.helpers import reference
from tests.helpers.equations import UNITS, check_differential, check_step


def with_projection(kernels):
    return ProjectedKernels(kernels, np.random.default_rng(1).normal(size=(UNITS, UNITS)).astype(np.float32))


def test_a_step_equals_the_papers():
    check_step(ProjectedLstm(), reference.projected_lstm, gates=4, carry_parts=2, more=with_projection)


def test_the_differential_is_the_derivative_of_the_step():
    check_differential(ProjectedLstm(), gates=4, carry_parts=2, more=with_projection)
