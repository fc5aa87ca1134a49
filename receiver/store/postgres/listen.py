"""Tells other receivers what was committed, and hears of what they commit: a hint, since everything is polled as well.

It has a connection of its own. Notifications are sent after the commit and at most every 50 ms: one inside a
transaction would hold a lock of the whole server until its end (src/backend/commands/async.c).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

import msgspec
import psycopg

from receiver.store.base import StoreError
from receiver.store.postgres.queue import Line

log = logging.getLogger(__name__)

CHANNEL = "heypeter_receiver"
_EVERY = 0.05  # seconds between two notifications
_MOST = 500  # incidents in one: 8,000 bytes are the limit of NOTIFY
_AGAIN = 1.0  # seconds until a connection that broke is tried again


class Hint(msgspec.Struct, frozen=True):
    """What a receiver has committed; ``incidents`` is empty if there were too many."""

    owner: str
    incidents: tuple[int, ...] = ()
    owes: bool = False
    duty: bool = False


_decoder = msgspec.json.Decoder(Hint)


class Listener:
    """``heard`` is called in its thread with each hint of another receiver, and with None after a lost connection."""

    def __init__(self, line: Line, owner: str, heard: Callable[[Hint | None], None]) -> None:
        self._line, self._owner, self._heard = line, owner, heard
        self._guard = threading.Lock()
        self._incidents, self._owes, self._duty = set[int](), False, False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postgres-listener", daemon=True)
        self._sent_at = 0.0

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def tell(self, incidents: set[int], *, owes: bool = False, duty: bool = False) -> None:
        """Tell the others soon that these were committed."""
        with self._guard:
            self._incidents |= incidents
            self._owes, self._duty = self._owes or owes, self._duty or duty

    def close(self) -> None:
        """End it; what was not told is not told any more."""
        self._stopping.set()
        self._line.end()
        if self._thread.ident is not None:
            self._thread.join()
        self._line.drop()

    def _run(self) -> None:
        lost = False
        while not self._stopping.is_set():
            try:
                connection = self._line.open()
                connection.raw.execute(f"LISTEN {CHANNEL}")
                if lost:
                    log.info("other receivers are heard again")
                    self._heard(None)
                lost = False
                self._listen()
            except (psycopg.Error, StoreError) as error:
                if not lost and not self._stopping.is_set():
                    log.warning("other receivers are not heard, and are asked for instead: %s", error)
                lost = True
                self._line.drop()
                self._stopping.wait(_AGAIN)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            connection = self._line.open()
            for notification in connection.raw.notifies(timeout=_EVERY):
                self._take_in(notification.payload)
                if time.monotonic() - self._sent_at > _EVERY:
                    break  # and not only when nobody has anything to tell
            self._send()

    def _take_in(self, payload: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # of a newer receiver
            hint = _decoder.decode(payload)
            if hint.owner != self._owner:
                self._heard(hint)

    def _send(self) -> None:
        with self._guard:
            incidents, owes, duty = self._incidents, self._owes, self._duty
            self._incidents, self._owes, self._duty = set(), False, False
        if not (incidents or owes or duty):
            return
        told = tuple(sorted(incidents)) if len(incidents) <= _MOST else ()
        hint = Hint(self._owner, told, owes, duty)
        try:
            self._line.open().execute("SELECT pg_notify(?, ?)", (CHANNEL, msgspec.json.encode(hint).decode()))
        except (psycopg.Error, StoreError):
            self.tell(incidents, owes=owes, duty=duty)  # told again by the next connection; twice does no harm
            raise
        self._sent_at = time.monotonic()
