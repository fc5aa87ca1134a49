"""The channel `log`: prints notifications on a terminal, when there is no other channel."""

import os
import sys
import textwrap
from typing import TextIO

from process.settings import Strict
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.channels.declaration import Declaration, Setup
from receiver.incident.model import Kind

WIDTH = 80
_COLOURS = {
    Kind.PAGE: "31",
    Kind.ACKNOWLEDGED: "33",
    Kind.RESOLVED: "32",
    Kind.UPDATE: "36",
    Kind.REMINDER: "35",
}


class Settings(Strict, frozen=True):
    """`channels.log`: the terminal."""


class Log:
    """Writes each message in one go, so that two never mix."""

    def __init__(self, stream: TextIO, *, colour: bool = False) -> None:
        self._stream, self._colour = stream, colour

    async def send(self, message: Message) -> Receipt:
        """Print the message; a terminal takes everything, unless it has gone."""
        encoding = self._stream.encoding or "utf-8"
        block = self._block(message).encode(encoding, "replace").decode(encoding)  # a terminal may know ASCII only
        try:
            self._stream.write(block)
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise SendError(f"cannot print: {type(error).__name__}", Failure.INTERNAL) from None
        return Receipt()

    def _block(self, message: Message) -> str:
        edge = f"\033[{_COLOURS[message.kind]}m┃\033[0m" if self._colour else "┃"
        lines: list[str] = []
        for line in (f"To {message.address}: {message.headline}", "", *message.text.splitlines()):
            # Control characters of an alert must not drive the terminal.
            shown = "".join(c for c in line if c.isprintable())
            whole = "://" in shown  # a link that is cut cannot be clicked
            lines += [shown] if whole else textwrap.wrap(shown, WIDTH - 4, break_on_hyphens=False) or [""]
        return "\n" + "".join(f"  {edge} {line}".rstrip() + "\n" for line in lines) + "\n"


def _build(_settings: Settings, _setup: Setup) -> Channel:
    return Log(sys.stdout, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))


CHANNEL = Declaration(settings=Settings, build=_build, wrong_address=None, read_by_people=True)
