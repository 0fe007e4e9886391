"""A command whose result stands in the documentation, and the rows of the table that it fills."""

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
        name: names the row and its figure.
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
    name = metric.removeprefix("test/")
    return WORDS.get(name, name.replace("_", " ").replace("/", ", "))
