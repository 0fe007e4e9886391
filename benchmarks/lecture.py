"""The lecture's map: what convolutional and recurrent networks are for, and the experiment that shows each."""

from typing import NamedTuple

from benchmarks.entry import Entry

ONE, MANY_TO_ONE, ONE_TO_MANY = "One to one", "Sequence to one", "One to sequence"
SYNCED, MANY_TO_MANY = "Sequence to sequence, in step", "Sequence to sequence, of another length"
PATTERNS = (ONE, MANY_TO_ONE, ONE_TO_MANY, SYNCED, MANY_TO_MANY)
CC_BY, CC_BY_SA, BSD = "CC BY 4.0", "CC BY-SA 3.0", "BSD-3-Clause"


class Application(NamedTuple):
    """An application of the lecture's map.

    Attributes:
        pattern: one of `PATTERNS`.
        title: what the network does.
        data: what it reads.
        license: that of the data.
        commands: the commands that are measured; the first one is the experiment's default.
        chance: what the first command reaches with shuffled labels, if all is right.
    """

    pattern: str
    title: str
    data: str
    license: str
    commands: tuple[Entry, ...]
    chance: str

    @property
    def name(self) -> str:
        """The experiment."""
        return self.commands[0].arguments.split()[0]

    @property
    def control(self) -> Entry:
        """The first command with shuffled labels."""
        return self.commands[0].control(self.chance)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All commands that are measured."""
        return (*self.commands, self.control)


def variants(
    name: str, setting: str, values: tuple[str, ...], baseline: str, **options: str
) -> tuple[Entry, ...]:
    """An entry for each value of a setting."""
    return tuple(
        Entry(
            f"{name}-{value.replace('_', '-')}",
            f"{name} --config.{setting}={value}",
            baseline=baseline,
            **options,
        )
        for value in values
    )


APPLICATIONS = (
    Application(
        MANY_TO_ONE,
        "Who speaks?",
        "Japanese vowels of nine speakers (UCI); official split",
        CC_BY,
        (
            Entry(
                "vowels", "vowels", baseline="0.949 (1-NN, dynamic time warping)", figure="accuracy_by_length"
            ),
            *variants("vowels", "direction", ("forward", "backward"), "0.949 (1-NN)"),
            *variants("vowels", "cell", ("lstm", "rnn"), "0.949 (1-NN)"),
        ),
        "0.24",
    ),
    Application(
        MANY_TO_ONE,
        "Which digit, pixel by pixel?",
        "UCI's digits, 64 steps of one pixel; the second half is the test part",
        CC_BY,
        (
            Entry(
                "pixels-gru", "pixels --config.cell=gru", baseline="0.969 (SVC)", figure="confusion_matrix"
            ),
            *variants("pixels", "cell", ("lstm", "rnn", "residual", "peephole", "projected"), "0.969 (SVC)"),
            Entry(
                "pixels-identity",
                "pixels --config.cell=identity --config.input_deviation=0.1",
                baseline="0.969 (SVC)",
            ),
            *(
                Entry(
                    f"pixels-permuted-{cell}",
                    f"pixels --config.cell={cell} --config.permuted=true",
                    baseline="0.969 (SVC)",
                )
                for cell in ("gru", "lstm")
            ),
        ),
        "0.1",
    ),
)
"""The applications, in the order of `PATTERNS`."""
