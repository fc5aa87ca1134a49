"""The book of a storm: what was asked, answered, taken and killed, in its order; the checker reads nothing else."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Book:
    """What happened; ``life`` is the number of the receiver that runs or ran last, ``pid`` its process."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    life: int = 0
    pid: int = 0
    armed: str = ""  # the point at a provider that kills next
    how: str = ""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def write(self, **line: object) -> None:
        with self.guard:
            self.lines.append({"at": time.time(), **line})

    def kill(self, how: str) -> None:
        with self.guard:
            pid, self.pid = self.pid, 0
            if not pid:
                return
            self.armed, self.how = "", how
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def at(self, point: str) -> None:
        """Kill if this is the point that was asked for."""
        if self.armed == point:
            self.kill(point)

    def took(self, channel: str, target: str, kind: str, identity: str, titles: list[str], life: int) -> None:
        self.write(
            type="send",
            channel=channel,
            target=target,
            kind=kind,
            identity=identity,
            titles=titles,
            life=life,
        )
