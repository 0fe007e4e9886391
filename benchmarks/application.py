"""An application of the lecture's map: a pattern, its data, and the commands that are measured."""

from typing import NamedTuple

from benchmarks.entry import Entry

ONE, MANY_TO_ONE, ONE_TO_MANY = "One to one", "Sequence to one", "One to sequence"
SYNCED, MANY_TO_MANY = "Sequence to sequence, in step", "Sequence to sequence, of another length"
PATTERNS = (ONE, MANY_TO_ONE, ONE_TO_MANY, SYNCED, MANY_TO_MANY)


class Application(NamedTuple):
    """An application of the lecture's map.

    Attributes:
        pattern: one of `PATTERNS`.
        title: what the network does.
        data: what it reads.
        license: that of the data.
        commands: the commands that are measured; the first one stands in the overview and has the control.
        chance: what the best guess without inputs reaches; with shuffled labels the first command must not be better.
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


def variants(name: str, setting: str, values: tuple[str, ...], baseline: str) -> tuple[Entry, ...]:
    """An entry for each value of a setting."""
    return tuple(
        Entry(
            f"{name}-{value.replace('_', '-')}",
            f"{name} --config.{setting}={value}",
            baseline=baseline,
        )
        for value in values
    )
