"""The rows of the table of results: commands, what is measured of them, and what is reached without a network."""

from typing import NamedTuple

WORDS = {
    "loss": "cross-entropy",
    "mean_squared_error": "squared error",
}
"""Metrics whose word in the table is another one than their name."""
SEEDS = (0, 1, 2)


class Entry(NamedTuple):
    """A command, and the rows of the table that its runs fill.

    Attributes:
        name: names the row; the first word is the experiment's.
        arguments: the command after ``python -m experiments.``.
        metric: the number of the result line that is shown.
        baseline: what a method without a network reaches, or chance.
        others: more metrics of the result line with their baselines; each has a row of its own.
        figure: the figure of the first run that the documentation shows; empty: none.
        seeds: the seeds of the runs.
        module: what the command has before the arguments.
    """

    name: str
    arguments: str
    metric: str = "accuracy"
    baseline: str = ""
    others: tuple[tuple[str, str], ...] = ()
    figure: str = ""
    seeds: tuple[int, ...] = SEEDS
    module: str = "experiments."

    @property
    def command(self) -> str:
        return f"python -m {self.module}{self.arguments}"

    @property
    def rows(self) -> dict[str, tuple[str, str]]:
        """The metric and the baseline of each row, by the row's name."""
        more = {f"{self.name}:{metric}": (metric, baseline) for metric, baseline in self.others}
        return {self.name: (self.metric, self.baseline), **more}

    def control(self, chance: str) -> "Entry":
        """The same command with shuffled labels, see `benchmarks.controls`; it has one seed."""
        return self._replace(
            name=f"{self.name}-shuffled",
            module="benchmarks.controls ",
            baseline=f"{chance} (chance)",
            others=(),
            figure="",
            seeds=SEEDS[:1],
        )


def word(metric: str) -> str:
    """What the table calls a metric."""
    return WORDS.get(metric, metric.replace("_", " "))


def long_memory(name: str, arguments: str) -> Entry:
    """A row of a synthetic task, with its metric and what chance reaches."""
    metric, baseline = {
        "adding": ("mean_squared_error", "0.167 (chance)"),
        "copy": ("loss", "0.297 (chance)"),
        "order": ("accuracy", "0.25 (chance)"),
        "pixels": ("accuracy", "0.1 (chance)"),
    }[name.split("-")[0]]
    return Entry(name, arguments, metric, baseline)


PIXELS = "pixels --config.cell="
ROWS = "pixels --config.reading=rows --config.data.name=mnist5k --config.cell="
ENTRIES = (
    Entry("digits", "digits", baseline="0.969 (SVC)"),
    Entry("digits-mnist5k", "digits --config.data.name=mnist5k", baseline="0.959 (SVC)"),
    Entry("vowels", "vowels", baseline="0.949 (1-NN, dynamic time warping)"),
    *(
        Entry(f"vowels-{value}", f"vowels --config.{name}={value}", baseline="0.949 (1-NN)")
        for name, value in (
            ("direction", "forward"),
            ("direction", "backward"),
            ("cell", "lstm"),
            ("cell", "rnn"),
        )
    ),
    *(
        long_memory(f"adding-{cell}", f"adding --config.cell={cell}")
        for cell in ("rnn", "identity", "lstm", "gru")
    ),
    long_memory("adding-rnn-half", "adding --config.cell=rnn --config.recurrent_scale=0.5"),
    long_memory("adding-rnn-gaussian", "adding --config.cell=rnn --config.recurrent_init=gaussian"),
    long_memory("adding-clipping", "adding --preset=clipping"),
    long_memory("adding-clipping-10", "adding --preset=clipping --config.optimizer.clip_norm=10"),
    long_memory(
        "adding-clipping-rnn", "adding --preset=clipping --config.cell=rnn --config.input_deviation=none"
    ),
    *(
        long_memory(f"order-{cell}", f"temporal_order --config.cell={cell}")
        for cell in ("rnn", "identity", "lstm", "gru")
    ),
    long_memory("order-rnn-half", "temporal_order --config.cell=rnn --config.recurrent_scale=0.5"),
    *(
        long_memory(f"order-rnn-{remedy}", f"temporal_order --config.cell=rnn --config.remedy={remedy}")
        for remedy in ("omega", "flossing")
    ),
    long_memory("order-100-rnn", "temporal_order --config.length=100 --config.cell=rnn"),
    *(
        long_memory(
            f"order-100-{remedy}",
            f"temporal_order --config.length=100 --config.cell=rnn --config.remedy={remedy}",
        )
        for remedy in ("omega", "flossing")
    ),
    long_memory("copy-lstm", "copy_memory"),
    long_memory("copy-lstm-forget", "copy_memory --config.forget_bias=3.912"),
    long_memory("copy-lstm-chrono", "copy_memory --config.chrono=70"),
    long_memory("copy-gru", "copy_memory --config.cell=gru"),
    long_memory("pixels-gru", f"{PIXELS}gru"),
    long_memory("pixels-lstm", f"{PIXELS}lstm"),
    long_memory("pixels-identity", f"{PIXELS}identity --config.input_deviation=0.1"),
    long_memory("pixels-permuted-gru", f"{PIXELS}gru --config.permuted=true"),
    long_memory("pixels-permuted-lstm", f"{PIXELS}lstm --config.permuted=true"),
    *(long_memory(f"pixels-rows-{cell}", f"{ROWS}{cell}") for cell in ("rnn", "identity", "lstm", "gru")),
)
