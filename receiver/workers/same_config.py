"""The loop that notices when receivers on one database have different configurations: one of them was not reloaded."""

from collections.abc import Callable

from receiver.store.base import Store

PERIOD = 60.0  # seconds
_AGAIN = 2  # looks in a row: whoever reloads them does so one after the other


class DifferentConfigError(Exception):
    """Whom a page reaches depends on which receiver sends it."""


class SameConfig:
    """``run_once`` looks, and fails while they differ; ``digest`` gives what our configuration is known by."""

    def __init__(self, store: Store, digest: Callable[[], str]) -> None:
        self._store, self._digest = store, digest
        self._differed = 0

    async def run_once(self) -> None:
        """Look; DifferentConfigError."""
        self._differed = 0 if await self._store.same_config(self._digest()) else self._differed + 1
        if self._differed >= _AGAIN:
            raise DifferentConfigError("another receiver on this database has another configuration: reload all")
