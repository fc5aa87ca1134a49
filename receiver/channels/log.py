"""The channel `log`: prints notifications on a terminal, readably, when there is no other way out."""

import textwrap
from typing import TextIO

from receiver.channels.base import Message, Receipt
from receiver.incident import Kind

WIDTH = 80
_COLOURS = {Kind.PAGE: "31", Kind.ACKNOWLEDGED: "33", Kind.RESOLVED: "32"}


class Log:
    """Writes each message in one go, so that two never mix."""

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self._stream, self._colour = stream, colour

    async def send(self, message: Message) -> Receipt:
        """Print the message; a terminal takes everything."""
        self._stream.write(self._block(message))
        self._stream.flush()
        return Receipt()

    def _block(self, message: Message) -> str:
        edge = f"\033[{_COLOURS[message.kind]}m┃\033[0m" if self._colour else "┃"
        # Control characters of an alert must not drive the terminal.
        text = "".join(
            c for c in f"To {message.address} · {message.headline}\n{message.text}" if c.isprintable() or c == "\n"
        )
        lines: list[str] = []
        for line in text.splitlines():
            whole = "://" in line  # a link that is cut cannot be clicked
            lines += [line] if whole else textwrap.wrap(line, WIDTH - 4, break_on_hyphens=False) or [""]
        return "\n" + "".join(f"  {edge} {line}".rstrip() + "\n" for line in lines)
