"""What the statements need of a database's connection, and the store of what executes them.

Placeholders are ``?``, ``?1`` or ``:name``. A list is bound as JSON, and ``json_each(?)`` reads it
into a column ``value``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from receiver.store.base import Outage
from receiver.store.sql.ahead import Ahead
from receiver.store.unreadable import Unreadable

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]
ALL = 2**62  # as a limit: more rows than there are; as an id: one that is greater than any
OWN = "INSERT INTO own VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Rows(Protocol):
    """What a statement gives."""

    @property
    def rowcount(self) -> int:
        """Say how many rows it has changed."""

    def fetchone(self) -> Any:  # noqa: ANN401  # columns of any type
        """Give the next row as a tuple, None after the last."""

    def fetchall(self) -> list[Any]:
        """Give all rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Give the rows."""


class Connection(Protocol):
    """A connection inside a transaction that its writer or reader manages."""

    unreadable: Unreadable

    @property
    def ahead(self) -> Ahead | None:
        """Give what was asked before the changes that are being made, if an answer takes its time."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Rows:  # noqa: ANN401  # see Parameters
        """Execute one statement."""

    def execute_each(self, sql: str, parameters: Iterable[Any], /) -> list[list[Any]]:
        """Execute one statement for each of these parameters; gives the rows of each."""

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> object:
        """Execute one statement for each of these parameters."""

    def without_trigger(self, table: str, name: str) -> AbstractContextManager[None]:
        """Let a trigger be gone inside, which nobody else sees."""


class Reader(Protocol):
    """Executes what only reads."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Read what was committed when the statement began; StoreError."""


class Writer(Reader, Protocol):
    """Executes what writes, one transaction after the other."""

    @property
    def outage(self) -> Outage | None:
        """Give what became of the last attempt to write."""

    async def commit(
        self, change: Callable[[Connection], T], *, urgent: bool = False, ask: Callable[[Ahead], None] | None = None
    ) -> T:
        """Make a change, which may run twice; it is on the disk when this returns. StoreError: nothing has happened.

        ``ask`` asks for what the change will read, where answers take their time; see Ahead for which changes may.
        """

    async def commit_in_order(self, change: Callable[[Connection], T]) -> T:
        """Make a change after all that were asked for before it, and before all that come."""


def rows_of(db: Connection, sql: str, parameters: tuple[object, ...]) -> list[Any]:
    """Give the rows of a query, by what was asked ahead if that is so."""
    return db.execute(sql, parameters).fetchall() if db.ahead is None else db.ahead.read(sql, parameters)
