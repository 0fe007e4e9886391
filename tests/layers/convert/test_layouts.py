"""Layouts of the libraries: the order of gates and biases by hand, and errors that name what does not fit."""

import numpy as np
import pytest
from flax import linen as nn

from dlcore.layers.convert import layouts, libraries
from dlcore.layers.recurrent.cells import GRUCell, LSTMCell, ResidualRNNCell, RNNCell
from dlcore.layers.recurrent.feedback import FeedbackCell
from dlcore.layers.recurrent.layer import Recurrent

HIDDEN = 5
RNN, LSTM = RNNCell(HIDDEN), LSTMCell(HIDDEN)
BEFORE, AFTER = GRUCell(HIDDEN), GRUCell(HIDDEN, reset="after")


def test_gates_are_reordered_transposed_and_biases_added():
    """torch stacks i, f, g, o as rows; dlcore has i, f, o, g side by side and one bias."""
    cell = LSTMCell(1)
    state_dict = {
        "weight_ih": np.array([[1.0], [2.0], [3.0], [4.0]]),
        "weight_hh": np.array([[5.0], [6.0], [7.0], [8.0]]),
        "bias_ih": np.array([0.1, 0.2, 0.3, 0.4]),
        "bias_hh": np.array([10.0, 20.0, 30.0, 40.0]),
    }
    ours, theirs = layouts.layout_pair(cell, "torch")
    arrays = layouts.convert_arrays("state_dict", state_dict, [(theirs, ours)], cell)
    np.testing.assert_array_equal(arrays["input_kernel"], [[1, 2, 4, 3]])
    np.testing.assert_array_equal(arrays["recurrent_kernel"], [[5, 6, 8, 7]])
    np.testing.assert_allclose(arrays["bias"], [10.1, 20.2, 40.4, 30.3])
    back = layouts.convert_arrays("params", arrays, [(ours, theirs)], cell)
    np.testing.assert_array_equal(back["weight_ih"], state_dict["weight_ih"])
    np.testing.assert_allclose(back["bias_ih"], [10.1, 20.2, 30.3, 40.4])
    assert not back["bias_hh"].any()


def test_haikus_signs_and_forget_bias():
    """haiku's z is 1 - z of dlcore, and its LSTM adds 1 to f by itself; it stacks both kernels in one array."""
    ours, theirs = layouts.layout_pair(GRUCell(1), "haiku")
    core = {"w_i": np.array([[1.0, 2, 3]]), "w_h": np.array([[4.0, 5, 6]]), "b": np.array([7.0, 8, 9])}
    arrays = layouts.convert_arrays("params", core, [(theirs, ours)], GRUCell(1))
    assert [arrays[name].ravel().tolist() for name in ours.names[:3]] == [[-1, 2, 3], [-4, 5, 6], [-7, 8, 9]]
    ours, theirs = layouts.layout_pair(LSTMCell(1), "haiku")
    core = {"linear/w": np.array([[1.0, 2, 3, 4], [5, 6, 7, 8]]), "linear/b": np.array([1.0, 2, 3, 4])}
    arrays = layouts.convert_arrays("params", core, [(theirs, ours)], LSTMCell(1))  # i, g, f, o -> i, f, o, g
    assert arrays["input_kernel"].tolist() == [[1, 3, 4, 2]]
    assert arrays["recurrent_kernel"].tolist() == [[5, 7, 8, 6]]
    assert arrays["bias"].tolist() == [1, 4, 4, 2]


def test_an_array_may_hold_two_parts_or_one_gate():
    _, keras = layouts.layout_pair(AFTER, "keras")
    assert layouts.parts_by_array(keras)["bias"] == [("bias", "zrn"), ("recurrent_bias", "zrn")]
    _, flax = layouts.layout_pair(AFTER, "flax")
    assert layouts.parts_by_array(flax)["hn/bias"] == [("recurrent_bias", "n")]
    assert "hr/bias" not in layouts.parts_by_array(flax)


@pytest.mark.parametrize(
    ("cell", "kind"), [(RNN, "rnn"), (LSTM, "lstm"), (BEFORE, "gru before"), (AFTER, "gru after")]
)
def test_the_kind_of_a_cell(cell, kind):
    assert layouts.cell_kind(cell) == kind
    assert f"features={HIDDEN}, use_bias=True" in layouts.describe_cell(cell)


ONE_LAYER = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,)}


def arrays_of(shapes):
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias_hh_l0": None}, "state_dict: got no bias_hh_l0, expected weight_ih_l0, .* for LSTMCell"),
        (
            {"weight_hr_l0": (2, 5)},
            "state_dict: got also weight_hr_l0, expected .*; pass all of one recurrent module",
        ),
        (
            {"weight_ih_l0_reverse": (20, 3)},
            "got no weight_hh_l0_reverse, bias_ih_l0_reverse, bias_hh_l0_reverse",
        ),
        ({"weight_ih_l2": (20, 5)}, "got no weight_ih_l1, .* and also weight_ih_l2"),
        ({"weight_ih_l0": None, "lstm.weight_ih_l0": (20, 3)}, "no weight_ih_l0 and also lstm.weight_ih_l0"),
        (
            {"weight_ih_l0": (16, 3)},
            r"weight_ih_l0 of shape \(16, 3\), expected \(20, 3\) for LSTMCell\(features=5",
        ),
        ({"weight_ih_l0": (20,)}, r"weight_ih_l0 of shape \(20,\), expected \(20, "),
        (
            {"weight_hh_l0": (20, 4)},
            r"weight_hh_l0 of shape \(20, 4\), expected \(20, 5\).*features and reset must",
        ),
        ({"bias_hh_l0": (20, 1)}, r"bias_hh_l0 of shape \(20, 1\), expected \(20,\)"),
    ],
)
def test_from_torch_names_what_does_not_fit(change, message):
    shapes = {name: shape for name, shape in (ONE_LAYER | change).items() if shape is not None}
    with pytest.raises(ValueError, match=message):
        libraries.from_torch(arrays_of(shapes), LSTM)


@pytest.mark.parametrize(
    ("function", "cell", "message"),
    [
        (
            libraries.from_torch,
            BEFORE,
            'GRUCell.*reset="before".*, expected reset="after": torch resets after',
        ),
        (libraries.to_torch, BEFORE, 'expected reset="after": torch'),
        (libraries.from_flax, BEFORE, 'expected reset="after": flax'),
        (libraries.to_flax, BEFORE, 'expected reset="after": flax'),
        (libraries.from_haiku, AFTER, 'reset="after".*expected reset="before": haiku resets before'),
        (libraries.to_haiku, AFTER, 'expected reset="before": haiku'),
        (
            libraries.to_torch,
            ResidualRNNCell(HIDDEN),
            "cell: got ResidualRNNCell, expected RNNCell; no other",
        ),
        (libraries.from_torch, RNN.clone(connections="direct"), 'connections="direct".*, expected "full"'),
        (libraries.to_flax, RNN.clone(connections="lateral"), 'connections="lateral".*, expected "full"'),
    ],
)
def test_equations_that_differ_are_refused(function, cell, message):
    with pytest.raises(ValueError, match=message):
        function({}, cell)


@pytest.mark.parametrize("cell", [nn.GRUCell(HIDDEN), Recurrent(LSTM), FeedbackCell([LSTM]), None])
def test_other_cells_are_refused(cell):
    with pytest.raises(TypeError, match=r"cell: got .*, expected an RNNCell, LSTMCell or GRUCell"):
        libraries.to_torch({}, cell)


def test_bfloat16_of_torch_is_read():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    assert layouts.to_numpy("state_dict", "w", torch.tensor([0.5], dtype=torch.bfloat16)).tolist() == [0.5]
