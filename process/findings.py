"""The error of a settings file, and a collection of several, so that all of them are shown at once."""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator

MOST = 100  # errors that are shown at once


class SettingsError(Exception):
    """The file cannot be used; each of ``lines`` names file, line and fix and never a secret."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Findings:
    """Collects errors; ``refuse`` raises them as one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: set[str] = set()

    @property
    def is_full(self) -> bool:
        """Say whether there are so many that nobody reads another one."""
        return len(self.lines) > MOST

    def add(self, error: SettingsError) -> None:
        """Keep it, once; of too many, the first."""
        for line in error.lines:
            if len(self.lines) == MOST and line not in self._known:
                self.lines.append(f"and more errors, which are shown when these {MOST} are mended")
            if not self.is_full and line not in self._known:
                self._known.add(line)
                self.lines.append(line)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep a SettingsError of this block, and go on behind it."""
        try:
            yield
        except SettingsError as error:
            self.add(error)

    def refuse(self) -> None:
        """Raise what was collected; nothing happens if that is nothing."""
        if self.lines:
            raise SettingsError(*self.lines)


def reason(error: BaseException) -> str:
    """Say why a file or a host cannot be had: the system's words, else the kind of error. Texts may hold a URL."""
    system = getattr(error, "os_error", error)  # aiohttp's errors of connections hold the one below
    if isinstance(system, UnicodeError):
        return "it is not UTF-8 text"
    if not isinstance(system, OSError):
        return type(error).__name__
    if isinstance(system, ssl.SSLError | socket.gaierror) or not system.errno:
        return system.strerror or type(error).__name__
    return os.strerror(system.errno)  # asyncio's text has the address, which may be one of many
