"""What a command needs of the database, whether a receiver runs or not."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from receiver.store.access import Erased
from receiver.store.audit import Act
from receiver.store.sql.connection import Connection
from receiver.store.sql.history import StoredHistory


class CommandDatabase(Protocol):
    """Every method raises StoreError if the database cannot be used."""

    def history(self) -> StoredHistory:
        """Read what was."""

    def change(self) -> AbstractContextManager[Connection]:
        """Make one change, in one transaction."""

    def erase(self, person: str, texts: Iterable[str], act: Act) -> Erased:
        """See receiver.store.erase."""

    def described(self) -> str:
        """Say which schema it has, how large it is and how many incidents are in it, or what is wrong."""
