"""The settings with which a trained decoder generates; a run may change them."""

from dataclasses import dataclass

from dlcore.config.settings import Settings, setting
from dlcore.layers.decoding.generate import Sampler, sample


@dataclass
class BeamConfig(Settings):
    """How a decoder looks for its most likely sequences, see `beam_search`."""

    steps: int = setting(50, "Largest number of tokens of a decoded sequence.", minimum=1, may_change=True)
    beams: int = setting(
        1, "Number of beams of the search; 1: the most likely token in each step.", minimum=1, may_change=True
    )
    length_penalty: float = setting(
        0.0, "Exponent of the length by which a beam's score is divided.", minimum=0, may_change=True
    )


@dataclass
class SamplingConfig(Settings):
    """How tokens are drawn from a model's distribution, see `sample`.

    >>> sampler = SamplingConfig(top_k=40).make_sampler()
    """

    steps: int = setting(500, "Number of tokens to generate.", minimum=1, may_change=True)
    temperature: float = setting(
        1.0, "Below 1 sharpens the distribution of each token, above 1 flattens it.", above=0, may_change=True
    )
    top_k: int | None = setting(
        None, "Draw among this many most likely tokens only; none: among all.", minimum=1, may_change=True
    )
    top_p: float | None = setting(
        None,
        "Draw from the most likely tokens whose probabilities sum to this; none: from all.",
        above=0,
        maximum=1,
        may_change=True,
    )
    seed: int = setting(0, "Seed of the draws.", minimum=0, maximum=2**31 - 1, may_change=True)

    def make_sampler(self) -> Sampler:
        """The sampler with these settings, for `generate`."""
        return sample(self.temperature, self.top_k, self.top_p)
