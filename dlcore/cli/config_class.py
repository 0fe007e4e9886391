"""The check of the class of settings that the command line of an experiment or a sweep gets."""

import inspect
from typing import Any

from dlcore.utils.checks import shown


def check_config_class(config_class: Any, base: type, name: str) -> None:
    """Checks that a class of settings is a dataclass that is derived from another one.

    Args:
        config_class: the class to check.
        base: the class from which it must be derived.
        name: what error messages call ``base``.

    Raises:
        TypeError: it is not.
    """
    if not (isinstance(config_class, type) and issubclass(config_class, base)):
        raise TypeError(f"config_class: got {shown(config_class)}, expected a class derived from {name}")
    if inspect.get_annotations(config_class) and "__dataclass_fields__" not in vars(config_class):
        raise TypeError(
            f"config_class: got {config_class}, expected @dataclass above it, which makes its settings"
        )
