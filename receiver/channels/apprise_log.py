"""Reads what Apprise logs, in place of the log: it quotes URLs, which hold credentials, and tells why a send failed."""

import contextlib
import logging
import re
import threading
from collections.abc import Iterator

from receiver.channels.base import Failure, SendError
from receiver.channels.http_status import failure

# urllib3 logs each path at debug, and a path may be a token.
_LOGGERS = ("apprise", "urllib3.connectionpool")


class Ear(logging.Filter):
    """Hears what a thread logs while it is ``collected``, and keeps it out of every log."""

    def __init__(self) -> None:
        super().__init__()
        self._here = threading.local()

    def listen(self) -> None:
        """Begin to listen; warnings are made whatever the log's level is, for only they say what failed."""
        logging.getLogger("apprise").setLevel(logging.WARNING)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self)

    def leave(self) -> None:
        """Stop listening."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self)

    @contextlib.contextmanager
    def collected(self) -> Iterator[list[str]]:
        """Collect the lines of this thread."""
        lines: list[str] = []
        self._here.lines = lines
        try:
            yield lines
        finally:
            self._here.lines = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Take the line if this thread is being listened to."""
        lines = getattr(self._here, "lines", None)
        if lines is not None:
            lines.append(record.getMessage())
        return lines is None


def reason(name: str, said: str) -> SendError:
    """Apprise gives no status; nearly every plugin writes it at the end of a line of its log."""
    codes = re.findall(r"error=([1-5][0-9]{2})\b", said)
    if codes:
        return failure(f"{name} answered {codes[-1]}", int(codes[-1]))
    if re.search("connection error", said, re.IGNORECASE):
        return SendError(f"{name} cannot be reached", Failure.NETWORK)
    return SendError(f"Apprise could not send to {name}", Failure.SERVER_ERROR)
