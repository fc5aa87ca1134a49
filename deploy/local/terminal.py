"""What the launcher shows: progress, tables and the demo's acts, in 80 columns, coloured only on a terminal."""

import os
import time
from typing import TextIO


class Terminal:
    """Writes whole lines at once, because the receiver writes its notifications to the same terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = stream.isatty() and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()

    def title(self, text: str) -> None:
        """Write a heading."""
        self._write(f"\n {self._paint('1', text)}\n\n")

    def ready(self, name: str, url: str, took: float) -> None:
        """Tick off one program."""
        self._write(f"  {self._paint('32', '✓')} {name:<13} {url:<24} ready after {took:.1f} s\n")

    def table(self, rows: list[tuple[str, str, str]]) -> None:
        """Show names, addresses and what they are for."""
        self._write("\n" + "".join(f"  {self._paint('1', f'{a:<13}')} {b:<31} {c}\n" for a, b, c in rows))

    def act(self, text: str) -> None:
        """Write what the demo does, with the time since its start."""
        seconds = int(time.monotonic() - self._began)
        clock = f"[{seconds // 60}:{seconds % 60:02}]"
        self._write(f"{self._paint('36', clock)} {self._paint('1', text)}\n")

    def began(self) -> None:
        """Start the demo's clock."""
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Write one line."""
        self._write(f" {text}\n")

    def text(self, text: str) -> None:
        """Write a text as it is."""
        self._write(text)

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self._write(f"\n {self._paint('31', 'Not running:')} {text}\n")

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colour else text

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
