"""A file of TensorBoard events with numbers.

A record is its length, a checksum of the length, an event and a checksum of the event. An event is a protocol buffer:

    Event      wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5, session_log = 7
    Summary    value = 1 (repeated);  Value: tag = 1 (string), simple_value = 2 (float)
    SessionLog status = 1 (enum); 1 is a start

The bytes are written here because tensorboardX, which knows the format too, imports PyTorch and Google's storage client
where they are installed, which takes longer than the rest of a start.
Source: ``event.proto``, ``summary.proto`` and ``record_writer.cc`` of TensorFlow; CRC-32C: RFC 3720.
"""

import math
import os
import socket
import struct
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

DOUBLE, BYTES, FLOAT = 1, 2, 5  # how a value of a protocol buffer is stored
VERSION = b"brain.Event:2"
START = b"\x08\x01"  # a SessionLog


class EventFile:
    """Writes numbers into a new file ``PREFIX.out.tfevents.SECONDS.HOST.PROCESS``.

    Args:
        prefix: the path with which the file's name begins.
    """

    def __init__(self, prefix: Path):
        suffix = f"{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        path = prefix.with_name(f"{prefix.name}.out.tfevents.{suffix}")
        self._file = path.open("ab")
        self._write(_bytes(3, VERSION))

    def start(self, step: int) -> None:
        """Says that a run goes on: TensorBoard forgets what earlier files say of this step and later ones."""
        self._write(_step(step) + _bytes(7, START))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Writes numbers of a step, and hands them to the operating system.

        Raises:
            OSError: the file does not take them, for instance because the disk is full.
        """
        values = (_bytes(1, name.encode()) + _float(2, number) for name, number in numbers.items())
        self._write(_step(step) + _bytes(5, b"".join(_bytes(1, value) for value in values)))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, content: bytes) -> None:
        event = _key(1, DOUBLE) + struct.pack("<d", time.time()) + content
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))


def _varint(number: int) -> bytes:
    """A non-negative integer, seven bits a byte, the lowest first."""
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, BYTES) + _varint(len(content)) + content


def _float(field: int, number: float) -> bytes:
    """A number in single precision; infinite if it is too large for that."""
    try:
        content = struct.pack("<f", number)
    except OverflowError:
        content = struct.pack("<f", math.copysign(math.inf, number))
    return _key(field, FLOAT) + content


def _step(step: int) -> bytes:
    return _key(2, 0) + _varint(step)


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(content: bytes) -> int:
    """The checksum CRC-32C (Castagnoli).

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value, table = 0xFFFFFFFF, _crc_table()
    for byte in content:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def _checksum(content: bytes) -> bytes:
    """The masked CRC-32C, as a record has it."""
    value = crc32c(content)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)
