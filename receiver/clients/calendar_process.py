"""Expands one calendar in a process of its own: `python -m receiver.clients.calendar_process`.

Standard input holds one line of JSON (``Task``) and then the calendar; standard output gets the ``Calendar`` as JSON,
or one line that begins with ``error:``. The limits are set before a byte of the calendar is read.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import msgspec

from receiver.clients.limited_process import limit
from receiver.oncall.ical import CalendarError, TooSlow, expand

MEMORY = 768 << 20  # bytes of address space, of which Python and its libraries take a part
CPU = 45  # seconds
PATIENCE = 1.0  # seconds of CPU for one entry
_IMPATIENT = 0.1  # after a few slow ones; else a hundred of them would take it all
_FEW = 5


class Task(msgspec.Struct, frozen=True):
    """What is asked for."""

    zone: str
    start: datetime
    end: datetime
    memory: int = MEMORY


class Stopwatch:
    """Limits the CPU time of each entry."""

    def __init__(self) -> None:
        self._slow = 0
        signal.signal(signal.SIGVTALRM, self._ring)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Raise TooSlow when what is inside takes too long."""
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE if self._slow < _FEW else _IMPATIENT)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _ring(self, _signum: int, _frame: object) -> None:
        # Again after a while: Python ignores what is raised in a destructor.
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
        self._slow += 1
        raise TooSlow


def main() -> int:
    """Give the exit status."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    limit(task.memory, CPU)
    os.nice(10)  # it is never as urgent as a page
    try:
        calendar = expand(sys.stdin.buffer.read(), task.zone, task.start, task.end, Stopwatch().limited)
    except CalendarError as error:
        sys.stdout.write(f"error: {error}")
        return 0
    except MemoryError:
        sys.stdout.write("error: it takes too much memory to expand")
        return 0
    sys.stdout.buffer.write(msgspec.json.encode(calendar))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
