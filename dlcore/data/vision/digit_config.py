"""The settings of an experiment on handwritten digits."""

from dataclasses import dataclass
from typing import Literal

from dlcore.config.settings import Settings, setting
from dlcore.data.vision.images import Split, mnist, mnist5k, uci_digits


@dataclass
class DigitConfig(Settings):
    """Which handwritten digits an experiment reads.

    >>> train, test = DigitConfig("uci").load()
    >>> train["inputs"].shape
    (898, 8, 8, 1)
    """

    name: Literal["uci", "mnist5k", "mnist"] = setting(
        "uci", "Data set: UCI digits, 5000 digits of MNIST, or all of MNIST."
    )
    folder: str | None = setting(None, "Folder of MNIST's idx files, for the data set mnist.")

    def load(self) -> Split:
        """The parts ``(train, test)`` of `uci_digits`, `mnist5k` or `mnist`.

        Raises:
            ValueError: a folder is given for a data set that reads none; or as these functions say.
            FileNotFoundError: as they say.
        """
        if self.name == "mnist":
            return mnist(self.folder)
        if self.folder is not None:
            raise ValueError(
                f"folder: got {self.folder!r} for the data set {self.name}, expected mnist or none"
            )
        return {"uci": uci_digits, "mnist5k": mnist5k}[self.name]()
