"""dlcore: convolutional and recurrent networks in JAX and Flax, with gradient flow as a measured quantity.

>>> import dlcore as dl
>>> dl.Conv(features=16, kernel_size=3).features
16
"""

from dlcore import data, figures, losses, metrics
from dlcore.app import run
from dlcore.config import setting
from dlcore.layers.conv import Conv, ConvBlock, ConvStack, flatten
from dlcore.ops.convolution import output_size
from dlcore.ops.pooling import max_pool
from dlcore.train.experiment import CheckpointConfig, Config, Experiment, TrainConfig
from dlcore.train.optimizer import OptimizerConfig

__all__ = [
    "CheckpointConfig",
    "Config",
    "Conv",
    "ConvBlock",
    "ConvStack",
    "Experiment",
    "OptimizerConfig",
    "TrainConfig",
    "data",
    "figures",
    "flatten",
    "losses",
    "max_pool",
    "metrics",
    "output_size",
    "run",
    "setting",
]
