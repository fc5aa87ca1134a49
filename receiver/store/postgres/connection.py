"""One connection to PostgreSQL, as the statements of `receiver.store.sql` see it."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import psycopg
from psycopg.conninfo import make_conninfo

from receiver.store.postgres.dialect import bound, translated

CONNECT_TIMEOUT = 5  # seconds
# Each ends what hangs: a statement, a wait for another receiver, and a receiver that was stopped in its transaction.
_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "3s",
    "timezone": "UTC",
    "client_encoding": "UTF8",
}
# A peer that is gone without a word is noticed after 8 seconds.
_SOCKET = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 5,
    "tcp_user_timeout": 8000,
}
_PASSES = "SELECT set_config('heypeter.passes', ?, true)"  # until the end of the transaction; see schema.sql


class Login(NamedTuple):
    """How to connect; ``listen`` goes past a pooler of transactions, if ``conninfo`` goes through one."""

    conninfo: str
    password: str | None = None
    listen: str = ""

    def __repr__(self) -> str:
        return "<login>"


class Rows:
    """What a statement gives; in a pipeline, it is waited for when somebody asks."""

    def __init__(self, cursor: psycopg.RawCursor[Any], pipeline: psycopg.Pipeline | None) -> None:
        self._cursor, self._pipeline = cursor, pipeline

    @property
    def rowcount(self) -> int:
        """Say how many rows it has changed."""
        if self._pipeline is not None:
            self._pipeline.sync()
        return self._cursor.rowcount

    def fetchone(self) -> Any:  # noqa: ANN401  # columns of any type
        """Give the next row."""
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """Give all rows that are left."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        """Give the rows."""
        return iter(self._cursor.fetchall())


class PostgresConnection:
    """See receiver.store.sql.connection.Connection."""

    def __init__(self, login: Login, *, read_only: bool = False, listens: bool = False) -> None:
        """Connect; psycopg.Error if that fails."""
        conninfo = login.listen if listens and login.listen else login.conninfo
        more = {"password": login.password} if login.password is not None else {}
        self.raw = psycopg.connect(make_conninfo(conninfo, **_SOCKET, **more), autocommit=True, prepare_threshold=0)
        self._pipeline: psycopg.Pipeline | None = None
        try:
            for name, value in _SETTINGS.items():
                self.execute("SELECT set_config(?, ?, false)", (name, value))
            if read_only:
                self.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
        except BaseException:
            self.raw.close()
            raise

    def execute(self, sql: str, parameters: Any = (), /) -> Rows:  # noqa: ANN401  # see connection.Parameters
        """Execute one statement."""
        statement = translated(sql)
        cursor = psycopg.RawCursor(self.raw)
        cursor.execute(statement.sql, bound(statement.order, parameters))
        return Rows(cursor, self._pipeline)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> None:
        """Execute one statement for each of these parameters."""
        for each in parameters:
            self.execute(sql, each)

    @contextlib.contextmanager
    def without_trigger(self, _table: str, name: str) -> Iterator[None]:
        """Let a trigger of the audit log pass inside; who may change rows needs not be the owner of the table.

        ALTER TABLE would also end all prepared statements of psycopg, in a pipeline those that it still uses.
        """
        self.execute(_PASSES, (name,))
        yield
        self.execute(_PASSES, ("",))

    @contextlib.contextmanager
    def pipelined(self) -> Iterator[None]:
        """Send statements without waiting for the answer of the one before, until somebody asks for it."""
        with self.raw.pipeline() as pipeline:
            self._pipeline = pipeline
            try:
                yield
            finally:
                self._pipeline = None

    def sync(self) -> None:
        """Wait for all answers; psycopg.Error of the first statement that failed."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def close(self) -> None:
        """Let go of it, whatever state it is in."""
        with contextlib.suppress(psycopg.Error):
            self.raw.close()
