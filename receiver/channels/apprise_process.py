"""Sends messages through Apprise in a process of its own: `python -m receiver.channels.apprise_process`.

Each line of standard input is a ``Job`` as JSON, each line of standard output its ``Outcome``, after an empty one. The
library reads an answer whole, and its time limit is for each read: only limits on a process bound what a service can
cost us.
"""

import logging
from typing import Literal

import apprise
import msgspec

from receiver.clients.limited_process import limit, serve

MEMORY = 256 << 20  # bytes of address space, of which Python and its libraries take 70 MB
_LOGGED = 10_000  # characters

Format = Literal["text", "markdown", "html"]
SendAs = Literal["failure", "success", "warning", "info"]


class Job(msgspec.Struct, frozen=True):
    """What to send; ``url`` is Apprise's and holds the credentials, ``timeout`` is in seconds."""

    url: str
    title: str
    body: str
    form: Format
    sort: SendAs
    timeout: float
    brand: str = ""  # the name that the message comes from, where a service shows one


class Outcome(msgspec.Struct, frozen=True):
    """Whether it was sent, and what Apprise logged about it: that may quote the credentials."""

    sent: bool
    logged: str = ""


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def plugin(url: str, timeout: float, brand: str = "") -> apprise.NotifyBase | None:
    """Make what sends to a URL, once and without redirects; None if Apprise does not know it."""
    asset = apprise.AppriseAsset(app_id=brand, app_desc=brand)
    asset.async_mode = False
    made = apprise.Apprise.instantiate(url, asset=asset)
    if made is not None:
        made.retry, made.optional, made.redirects = 0, False, False  # the dispatcher alone retries
        made.socket_connect_timeout = made.socket_read_timeout = timeout
        made.overflow_mode = apprise.OverflowMode.TRUNCATE  # too long is cut, and never refused
    return made


def send(job: Job, log: _Lines) -> Outcome:
    """Try once."""
    log.lines.clear()
    sender, made = (
        apprise.Apprise(),
        plugin(job.url, job.timeout, job.brand),
    )  # a used one would sleep between two messages
    if made is None:
        return Outcome(sent=False)
    sender.add(made)
    sent = sender.notify(title=job.title, body=job.body, body_format=job.form, notify_type=job.sort)
    return Outcome(sent=bool(sent), logged="\n".join(log.lines)[:_LOGGED])


def main() -> int:
    """Give the exit status, at the end of the input or when the memory does not suffice."""
    limit(MEMORY)
    log = _Lines()
    logging.getLogger("apprise").addHandler(log)
    logging.getLogger("apprise").setLevel(logging.WARNING)  # only warnings say what failed
    plugin("json://localhost", 1)  # the first one imports all there are
    serve(lambda line: msgspec.json.encode(send(msgspec.json.decode(line, type=Job), log)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
