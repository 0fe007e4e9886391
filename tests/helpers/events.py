"""Reads files of TensorBoard events with another program than the one that writes them."""

import struct

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c


def read_events(path):
    """The events of a file, whose lengths and events have the checksums of tensorboardX."""
    content, events = path.read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        event = content[12 : 12 + size]
        sums = content[8:12] + content[12 + size : 16 + size]
        assert struct.unpack("<II", sums) == (masked_crc32c(content[:8]), masked_crc32c(event))
        events.append(Event.FromString(event))
        content = content[16 + size :]
    return events
