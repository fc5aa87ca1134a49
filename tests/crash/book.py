"""The book of a storm: what was asked, answered, taken and killed, in its order; the checker reads nothing else."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Book:
    """What happened. Each life of a receiver has a number; ``life`` is that of the newest.

    ``doors``: of several receivers, each knows the providers by ports of its own; by them its life is found.
    """

    path: Path  # each line is in the file when it has been written down: a storm that fails can be checked as well
    life: int = 0
    doors: dict[int, Callable[[], int]] = field(default_factory=dict)  # port -> life
    running: dict[int, int] = field(default_factory=dict)  # life -> process
    hows: dict[int, str] = field(default_factory=dict)  # life -> how it ends
    armed: str = ""  # the point at a provider that kills next
    taken: int = 0  # notifications, by the providers
    guard: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._file = self.path.open("w", encoding="utf-8", buffering=1)

    @property
    def pid(self) -> int:
        """Give the process of the newest life, 0 if it is over."""
        return self.running.get(self.life, 0)

    def life_at(self, port: int) -> int:
        """Give the life that asks at a port."""
        door = self.doors.get(port)
        return door() if door is not None else self.life

    def write(self, **line: object) -> None:
        with self.guard:
            self._file.write(json.dumps({"at": time.time(), **line}) + "\n")

    def close(self) -> None:
        """Nothing is written down any more."""
        with self.guard:
            self._file.close()

    def begin(self, pid: int) -> int:
        """Number the life that a process begins."""
        self.life += 1
        self.running[self.life] = pid
        self.write(type="birth", life=self.life)
        return self.life

    def kill(self, how: str, life: int = 0) -> None:
        """Kill, the newest if nothing else is asked for."""
        with self.guard:
            life = life or max(self.running, default=0)
            pid = self.running.pop(life, 0)
            if not pid:
                return
            self.armed, self.hows[life] = "", how
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def end(self, life: int) -> str:
        """Write down that a life is over; say how it ended."""
        self.running.pop(life, None)
        how = self.hows.get(life, "")
        self.write(type="death", life=life, how=how)
        return how

    def at(self, point: str) -> None:
        """Kill if this is the point that was asked for."""
        if self.armed == point:
            self.kill(point)

    def took(self, channel: str, target: str, kind: str, identity: str, titles: list[str], life: int) -> None:
        self.taken += 1
        self.write(
            type="send",
            channel=channel,
            target=target,
            kind=kind,
            identity=identity,
            titles=titles,
            life=life,
        )
