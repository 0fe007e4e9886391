"""dlcore: convolutional and recurrent networks in JAX and Flax, with gradient flow as a measured quantity.

>>> import dlcore as dl
>>> dl.Conv(features=16, kernel_size=3).features
16
"""

from dlcore import data, figures, losses, metrics
from dlcore.app import run
from dlcore.config import setting
from dlcore.durations import Duration
from dlcore.layers.attention import BahdanauAttention, LuongAttention, attend
from dlcore.layers.attention_decoder import AttentionDecoder
from dlcore.layers.beam_search import beam_search
from dlcore.layers.cell_config import CellConfig
from dlcore.layers.cells import (
    CELLS,
    GRUCell,
    IdentityRNNCell,
    LSTMCell,
    ResidualRNNCell,
    RNNCell,
)
from dlcore.layers.conv import Conv, flatten
from dlcore.layers.conv_cells import ConvGRUCell, ConvLSTMCell
from dlcore.layers.decode import generate, greedy, sample
from dlcore.layers.deep import DeepRecurrent
from dlcore.layers.feedback import FeedbackCell
from dlcore.layers.inspect import block_maps, class_probabilities, classifier_figures
from dlcore.layers.normalised_cells import LayerNormGRUCell, LayerNormLSTMCell
from dlcore.layers.recurrent import Bidirectional, Recurrent
from dlcore.layers.stack import ConvBlock, ConvStack, temporal_blocks
from dlcore.layers.stateful import Stateful
from dlcore.layers.summary import describe, parameter_count, receptive_field
from dlcore.layers.time_distributed import TimeDistributed
from dlcore.ops.convolution import convolve, correlate
from dlcore.ops.lengths import last_over_time, max_over_time, mean_over_time, valid_steps
from dlcore.ops.pooling import avg_pool, channel_pool, global_avg_pool, global_max_pool, max_pool
from dlcore.ops.sizes import output_size
from dlcore.train.experiment import CheckpointConfig, Config, Experiment, TrainConfig
from dlcore.train.mesh import MeshConfig
from dlcore.train.optimizer import OptimizerConfig

__all__ = [
    "CELLS",
    "AttentionDecoder",
    "BahdanauAttention",
    "Bidirectional",
    "CellConfig",
    "CheckpointConfig",
    "Config",
    "Conv",
    "ConvBlock",
    "ConvGRUCell",
    "ConvLSTMCell",
    "ConvStack",
    "DeepRecurrent",
    "Duration",
    "Experiment",
    "FeedbackCell",
    "GRUCell",
    "IdentityRNNCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LuongAttention",
    "MeshConfig",
    "OptimizerConfig",
    "RNNCell",
    "Recurrent",
    "ResidualRNNCell",
    "Stateful",
    "TimeDistributed",
    "TrainConfig",
    "attend",
    "avg_pool",
    "beam_search",
    "block_maps",
    "channel_pool",
    "class_probabilities",
    "classifier_figures",
    "convolve",
    "correlate",
    "data",
    "describe",
    "figures",
    "flatten",
    "generate",
    "global_avg_pool",
    "global_max_pool",
    "greedy",
    "last_over_time",
    "losses",
    "max_over_time",
    "max_pool",
    "mean_over_time",
    "metrics",
    "output_size",
    "parameter_count",
    "receptive_field",
    "run",
    "sample",
    "setting",
    "temporal_blocks",
    "valid_steps",
]
