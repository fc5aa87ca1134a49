"""Expands one calendar in a process of its own: `python -m receiver.clients.calendar_process`.

Standard input holds one line of JSON (``Task``) and then the calendar; standard output gets the ``Calendar`` as JSON,
or one line that begins with ``error:``. The limits are set before a byte of the calendar is read.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from receiver.clients.calendar_task import Task
from receiver.clients.limited_process import limit
from receiver.oncall.calendar_entries import CalendarError, TooSlow
from receiver.oncall.ical import expand

CPU = 45  # seconds
# Seconds of CPU for one entry, by how many slow ones came before it: a thousand of them must leave time for the others.
_PATIENCE = ((5, 1.0), (25, 0.1))
_LEAST = 0.01


def patience(slow: int) -> float:
    """Give the seconds of CPU that an entry may take after so many slow ones."""
    return next((seconds for most, seconds in _PATIENCE if slow < most), _LEAST)


class Stopwatch:
    """Limits the CPU time of each entry."""

    def __init__(self) -> None:
        self._slow = 0
        signal.signal(signal.SIGVTALRM, self._ring)

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Raise TooSlow when what is inside takes too long."""
        signal.setitimer(signal.ITIMER_VIRTUAL, patience(self._slow))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _ring(self, _signum: int, _frame: object) -> None:
        # Again after a while: Python ignores what is raised in a destructor.
        signal.setitimer(signal.ITIMER_VIRTUAL, patience(self._slow))
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
