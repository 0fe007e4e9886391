"""Text for people: columns and amounts."""

from collections.abc import Sequence

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def columns(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines in which the cells of all rows stand in columns.

    Args:
        rows: the rows, each with as many cells; at least one.
        left: the number of columns, from the first on, whose cells begin at the same place; those of the others end
            at the same place.

    >>> columns([("name", "bytes"), ("a", "12"), ("b", "3456")])
    ['name  bytes', 'a        12', 'b      3456']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def bytes_text(count: float) -> str:
    """A number of bytes in the unit in which it is 1 to 1024, with four digits.

    >>> bytes_text(0), bytes_text(15.75 * 2**30)
    ('0 B', '15.75 GiB')
    """
    unit = 0
    while count >= 1023.5 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:.4g} {UNITS[unit]}"


def count_text(count: float) -> str:
    """A large number with its prefix of thousands, with three digits.

    >>> count_text(850_864_177_152), count_text(12)
    ('851 G', '12')
    """
    prefix = 0
    while count >= 999.5 and prefix < 5:
        count, prefix = count / 1000, prefix + 1
    return f"{count:.3g} {' kMGTP'[prefix]}".rstrip()
