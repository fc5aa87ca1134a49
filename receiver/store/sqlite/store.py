"""The store on one SQLite file: one writing thread, BEGIN IMMEDIATE around changes, fsync before the answer."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

from receiver.incident.delivery import Handling
from receiver.store.base import ANY, Ask, Claimed, Outage, StoreError, StoreOutageError, Taker, Wanted
from receiver.store.sql.outbox import HandlingOf, first_due
from receiver.store.sql.store import SQLStore, Watcher, unwatched
from receiver.store.sqlite.erase import SQLiteErase
from receiver.store.sqlite.file import Hold, check, connect, connect_to_read
from receiver.store.sqlite.queue import Reader, Writer

log = logging.getLogger(__name__)


class SQLiteStore(SQLStore):
    """See receiver.store.base.Store, and SQLStore for the parameters."""

    def __init__(
        self,
        path: Path,
        changed: Callable[[], None],
        *,
        watch: Watcher = unwatched,
        handling: HandlingOf = lambda _channel: Handling(),
    ) -> None:
        self._path = path
        self._file_writer, self._file_reader = Writer(str(path), self._look), Reader(str(path))
        super().__init__(self._file_writer, self._file_reader, changed, watch=watch, handling=handling)
        self.erasing = SQLiteErase(self._file_writer, self._erases)
        self._held: Hold | None = None
        self._checking: sqlite3.Connection | None = None
        self._is_replaced = False

    async def open(self, now: datetime, keys: Mapping[str, str] | None = None) -> None:
        """Create or upgrade the file; StoreError says what is in the way.

        ``keys`` gives the key of each person by display name, if nobody else has that name: older files store names.
        """

        def work() -> None:
            held = Hold(self._path)
            try:
                writing = connect(self._path, now, keys or {}, new=held.is_new)
                try:
                    self._file_reader.connection = connect_to_read(self._path)
                except sqlite3.Error as error:
                    writing.close()
                    raise StoreError(f"{self._path}: cannot be read ({error})") from error
                writing.unreadable = self._file_reader.connection.unreadable = self.unreadable
                self._file_writer.connection = writing
            except BaseException:
                held.close()
                raise
            self._held = held

        await self._file_writer.call(work)
        await self._look_back(now)

    @property
    def outage(self) -> Outage | None:
        return Outage.REPLACED if self._is_replaced else super().outage

    async def alive(self, now: datetime) -> None:
        await self._file_writer.call(self._look)
        await super().alive(now)

    async def claim(self, channel: str, now: datetime, lease: float, limit: int, wanted: Wanted = ANY) -> list[Claimed]:
        if wanted.address or not self._file_writer.is_idle:
            return await super().claim(channel, now, lease, limit, wanted)
        # Nobody waits for the thread: the look and the claim need one turn of it, and not one each.
        claims = await self._file_writer.commit_if(
            lambda db: first_due(db, channel, now) is not None,
            lambda db: self._leased(db, channel, now, lease, Ask(limit, wanted)),
        )
        return claims or []

    def give_first_pages(self, channel: str, taker: Taker, clock: Callable[[], datetime]) -> None:
        self._takers[channel], self._lease_clock = taker, clock

    async def check(self) -> None:
        def look() -> None:
            with closing(connect_to_read(self._path)) as db:  # its own: it takes seconds, in which others read
                self._checking = db
                try:
                    check(db, self._path)
                finally:
                    self._checking = None

        try:
            await asyncio.to_thread(look)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: cannot be checked for damage ({error})") from error

    async def close(self) -> None:
        checking = self._checking
        if checking is not None:
            checking.interrupt()
        await self._file_reader.close()  # the last connection to close tidies up, which only the writer may
        writing = self._file_writer.connection
        if writing is not None:
            await self._file_writer.call(writing.close)
            self._file_writer.connection = None
        self._file_writer.shutdown()
        if self._held is not None:
            self._held.close()

    def _refuse(self) -> None:
        if self._is_replaced:  # whoever sent it shall send it again, to the next process
            raise StoreOutageError(Outage.REPLACED, f"{self._path}: is gone or has been replaced")

    def _look(self) -> None:
        """See whether the file is still the one that was opened."""
        replaced = self._held is not None and self._held.is_replaced()
        if replaced and not self._is_replaced:
            log.error(
                "%s: the database is gone or has been replaced; webhooks get 503, and what is written now is lost with "
                "this process: put it back, or restart the receiver",
                self._path,
            )
        self._is_replaced = replaced
