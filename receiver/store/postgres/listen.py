"""Tells other receivers what was committed, and hears of what they commit: a hint, since everything is polled as well.

It has a connection of its own. Notifications are sent after the commit and at most every 50 ms: one inside a
transaction would hold a lock of the whole server until its end (src/backend/commands/async.c).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection

import msgspec
import psycopg
from psycopg import sql

from receiver.store.base import StoreError
from receiver.store.postgres.queue import Line, named

log = logging.getLogger(__name__)

# Channels are the database's: each schema with our tables has one of its own.
_CHANNEL = "SELECT 'heypeter_receiver_' || CAST('incident'::regclass AS OID)"
_EVERY = 0.05  # seconds between two notifications
_MOST = 500  # incidents in one: 8,000 bytes are the limit of NOTIFY
_AGAIN = 1.0  # seconds until a connection that broke is tried again
_LAST_WORDS = 1.0  # seconds for what is left to tell when the receiver stops


class Hint(msgspec.Struct, frozen=True):
    """What a receiver has committed: changes of these incidents (None: of too many, or nobody knows which).

    ``owes``: something may be sent now. ``duty``: people have changed who serves. ``ended``: a session or token has.
    """

    owner: str
    incidents: tuple[int, ...] | None = ()
    owes: bool = False
    duty: bool = False
    ended: bool = False


_decoder = msgspec.json.Decoder(Hint)


class Listener:
    """``heard`` is called in its thread with each hint of another receiver, and with None after a lost connection."""

    def __init__(self, line: Line, owner: str, heard: Callable[[Hint | None], None]) -> None:
        self._line, self._owner, self._heard, self._channel = line, owner, heard, ""
        self._guard = threading.Lock()
        self._untold: set[int] | None = set()  # see Hint.incidents
        self._owes = self._duty = self._ended = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postgres-listener", daemon=True)
        self._sent_at = 0.0
        self.listens = threading.Event()  # once it has begun to

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def tell(
        self, incidents: Collection[int] | None = (), *, owes: bool = False, duty: bool = False, ended: bool = False
    ) -> None:
        """Tell the others soon that these were committed; see ``Hint``."""
        with self._guard:
            if incidents is None:
                self._untold = None
            elif self._untold is not None:
                self._untold.update(incidents)
                self._untold = self._untold if len(self._untold) <= _MOST else None
            self._owes, self._duty, self._ended = self._owes or owes, self._duty or duty, self._ended or ended

    def close(self) -> None:
        """End it, and tell what is left if that takes a moment only."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST_WORDS)
            self._line.end()
            self._thread.join()
        self._line.drop()

    def _run(self) -> None:
        lost = False
        while not self._stopping.is_set():
            try:
                connection = self._line.open()
                self._channel = str(connection.execute(_CHANNEL).fetchone()[0])
                connection.raw.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                self.listens.set()
                if lost:
                    log.info("other receivers are heard again")
                    self._heard(None)
                lost = False
                self._listen()
            except (psycopg.Error, StoreError) as error:
                if not lost and not self._stopping.is_set():
                    known = named(self._line.name, error) if isinstance(error, psycopg.Error) else error
                    log.warning("other receivers are not heard, and are asked for instead: %s", known)
                lost = True
                self._line.drop()
                self._stopping.wait(_AGAIN)

    def _listen(self) -> None:
        ends = False
        while not ends:
            ends = self._stopping.is_set()
            connection = self._line.open()
            for payload in connection.heard(0.0 if ends else _EVERY):
                self._take_in(payload)
            if ends or time.monotonic() - self._sent_at > _EVERY:
                self._send()

    def _take_in(self, payload: str) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # of a newer receiver
            hint = _decoder.decode(payload)
            if hint.owner != self._owner:
                self._heard(hint)

    def _send(self) -> None:
        with self._guard:
            incidents, *rest = self._untold, self._owes, self._duty, self._ended
            self._untold, self._owes, self._duty, self._ended = set(), False, False, False
        if incidents is not None and not (incidents or any(rest)):
            return
        hint = Hint(self._owner, None if incidents is None else tuple(sorted(incidents)), *rest)
        try:
            self._line.open().execute("SELECT pg_notify(?, ?)", (self._channel, msgspec.json.encode(hint).decode()))
        except (psycopg.Error, StoreError):
            # The next connection tells it again; twice does no harm.
            self.tell(incidents, owes=hint.owes, duty=hint.duty, ended=hint.ended)
            raise
        self._sent_at = time.monotonic()
