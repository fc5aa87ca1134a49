"""One connection to PostgreSQL, as the statements of `receiver.store.sql` see it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg.conninfo import make_conninfo

from receiver.store.postgres.dialect import bound, translated
from receiver.store.postgres.pipeline import Answer, Pipeline
from receiver.store.sql.ahead import Ahead
from receiver.store.unreadable import Unreadable

CONNECT_TIMEOUT = 5  # seconds
_SETTINGS = {
    # Each ends what hangs: a statement, a wait for another receiver, and a receiver that has stopped in a transaction.
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "3s",
    "transaction_timeout": "0",  # of the role's own: an upgrade of the tables takes as long as it takes
    "idle_session_timeout": "0",  # who listens may have nothing to say for days
    # What the statements are written for, whatever the role or the database has of its own. With another isolation a
    # transaction would see what was there before its turn came, with fewer digits times would not be read as written.
    "default_transaction_isolation": "read committed",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "timezone": "UTC",
    "client_encoding": "UTF8",
    # Statistics come later than a storm. Every statement has its index; test_postgres_plans.py looks at each.
    "enable_seqscan": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
# Without it COMMIT is answered before anything is on a disk; all its other values are the operator's choice.
_DURABLE = """
SELECT set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), false)
"""
# An older server does not know each of them; of one that is too old, the version is what is wrong (migrate.py).
_SET = f"""
SELECT set_config(name, setting, false) FROM (VALUES {", ".join("(?, ?)" for _ in _SETTINGS)}) wanted (name, setting)
WHERE current_setting(name, true) IS NOT NULL UNION ALL {_DURABLE}
"""  # noqa: S608  # our own text
_READ_ONLY = "SELECT set_config('default_transaction_read_only', 'on', false)"
# A peer that is gone without a word is noticed after 8 seconds.
_SOCKET: Mapping[str, str | int] = {
    "fallback_application_name": "heypeter-receiver",  # in pg_stat_activity
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 5,
    "tcp_user_timeout": 8000,
}
_PASSES = "SELECT set_config('heypeter.passes', ?, true)"  # until the end of the transaction; see schema.sql


class Login(NamedTuple):
    """How to connect; ``password`` is asked for each connection, and gives None if libpq is to find one."""

    conninfo: str
    password: Callable[[], str | None] = lambda: None

    def __repr__(self) -> str:
        return "<login>"


class PostgresConnection:
    """See receiver.store.sql.connection.Connection."""

    ahead: Ahead | None = None

    def __init__(self, login: Login, *, read_only: bool = False, unreadable: Unreadable | None = None) -> None:
        """Connect; psycopg.Error if that fails."""
        self.unreadable = unreadable or Unreadable()
        password = login.password()
        more = {"password": password} if password is not None else {}
        # Where psycopg prepares statements, it ends all of a connection after each ROLLBACK: ours as well.
        self.raw = psycopg.connect(_checked(login.conninfo, more), autocommit=True, prepare_threshold=None)
        self._pipeline = Pipeline(self.raw)
        try:
            self.execute(_SET, [word for setting in _SETTINGS.items() for word in setting])
            if read_only:
                self.execute(_READ_ONLY)
        except BaseException:
            self.raw.close()
            raise

    def execute(self, sql: str, parameters: Any = (), /) -> Answer:  # noqa: ANN401  # see connection.Parameters
        """Execute one statement."""
        statement = translated(sql)
        return self._pipeline.execute(statement.sql, bound(statement.order, parameters))

    def execute_each(self, sql: str, parameters: Iterable[Any], /) -> list[list[Any]]:
        """Execute one statement for each of these parameters, before the answer of the first has come."""
        with contextlib.nullcontext() if self._pipeline.is_on else self.pipelined():
            answers = [self.execute(sql, each) for each in parameters]
        return [answer.fetchall() for answer in answers]

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
        with self._pipeline.on():
            yield

    def heard(self, timeout: float) -> list[str]:
        """Give what was notified, waiting up to ``timeout`` seconds for the first; psycopg.Error.

        `notifies` of psycopg does not give what came together with an answer, and loses what is not taken of it.
        """
        return self._pipeline.heard(timeout)

    @contextlib.contextmanager
    def asking_ahead(self) -> Iterator[Ahead]:
        """Let changes inside use what was asked before them; see Ahead for which changes."""
        self.ahead = Ahead(self.execute)
        try:
            yield self.ahead
            self.ahead.end()
        finally:
            self.ahead = None

    def push(self) -> None:
        """Let the server begin with what was sent; nothing is waited for."""
        self._pipeline.push()

    def sync(self) -> None:
        """Wait for all answers; psycopg.Error of the first statement that failed."""
        if self._pipeline.is_on:
            self._pipeline.receive()

    def close(self) -> None:
        """Let go of it, whatever state it is in."""
        with contextlib.suppress(psycopg.Error):
            self.raw.close()


def _checked(conninfo: str, more: Mapping[str, str]) -> str:
    """Complete how to connect; what psycopg says of a mistake in it may show a part of its password."""
    try:
        return make_conninfo(conninfo, **_SOCKET, **more)
    except psycopg.ProgrammingError:
        known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
        unknown = [name for name, _ in parse_qsl(urlsplit(conninfo).query, keep_blank_values=True) if name not in known]
        wrong = f"libpq knows no option {unknown[0]!r}" if unknown else "libpq cannot read it"
        raise psycopg.ProgrammingError(f"postgres.url: {wrong} (it is not shown, as it may hold a password)") from None
