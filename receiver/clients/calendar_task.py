"""What ``receiver.clients.calendar_process`` is asked; apart from it, so that asking loads no library for calendars."""

from datetime import datetime

import msgspec

MEMORY = 768 << 20  # bytes of address space, of which Python and its libraries take a part


class Task(msgspec.Struct, frozen=True):
    """What is asked for."""

    zone: str
    start: datetime
    end: datetime
    memory: int = MEMORY
