"""Blocks: their settings, and what is refused before a stack is made."""

import pytest

import dlcore as dl


def test_temporal_blocks_are_counted():
    for levels in (0, -2):
        with pytest.raises(ValueError, match=f"levels: got {levels}"):
            dl.temporal_blocks(4, levels)
    for arguments, name in ((("4", 2), "features"), ((4, 2.0), "levels"), ((4, 2, None), "kernel_size")):
        with pytest.raises(TypeError, match=f"{name}: got"):
            dl.temporal_blocks(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": 0}, ValueError, "features: got 0"),
        ({"features": 4.5}, TypeError, r"features: got 4\.5, expected an integer"),
        ({"features": True}, TypeError, "features: got True, expected an integer"),
        ({"dropout": 1.0}, ValueError, r"dropout: got 1\.0"),
        ({"dropout": "0.5"}, TypeError, "dropout: got '0.5', expected a number"),
        ({"dropout": None}, TypeError, "dropout: got None"),
        ({"dropout": float("nan")}, ValueError, "dropout: got nan"),
        ({"residual": "no"}, TypeError, "residual: got 'no', expected True or False"),
        ({"remainder": "x"}, ValueError, "remainder: got 'x'"),
        ({"padding": "HALF"}, ValueError, "padding: got"),
        ({"padding": "CAUSAL"}, ValueError, "padding: got .* in 2 dimensions"),
        (
            {"pool": None, "pool_strides": 2},
            ValueError,
            "pool_strides: got 2, expected None, as pool is None",
        ),
        ({"pool": "2"}, TypeError, "pool: got '2'"),
        ({"norm": "b"}, ValueError, "norm: got 'b'"),
        ({"pool_kind": "mean"}, ValueError, "pool_kind: got 'mean'"),
        ({"pool": 0}, ValueError, "pool: got 0"),
        ({"pool": (2,)}, ValueError, r"pool: got \(2,\), expected an integer or 2 of them"),
        ({"strides": 0}, ValueError, "strides: got 0"),
        ({"convolutions": 0}, ValueError, "convolutions: got 0"),
        ({"kernel_size": ()}, ValueError, r"kernel_size: got \(\)"),
    ],
)
def test_block_refuses_bad_settings(options, error, message):
    with pytest.raises(error, match=message):
        dl.ConvBlock(**{"features": 4, **options})
