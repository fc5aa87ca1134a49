"""Shows open pages what other receivers on the same database have committed."""

import asyncio
from collections.abc import Callable, Collection

from receiver.incident.model import Incident
from receiver.store.base import Store, StoreError
from receiver.web.console.board import Board
from receiver.web.console.stream import Streams

_MOST = 50  # incidents that are read one by one; after more, pages fetch themselves again


class Elsewhere:
    """``heard`` is called in the event loop; ``wake`` is, when something was committed."""

    def __init__(self, store: Store, board: Board, streams: Streams, wake: Callable[[], None]) -> None:
        self._store, self._board, self._streams, self._wake = store, board, streams, wake
        self._waiting, self._missed = set[int](), False
        self._task: asyncio.Task[None] | None = None

    def heard(self, incidents: Collection[int] | None) -> None:
        """Take in that these have changed; None if nobody knows which."""
        self._wake()
        self._waiting.update(incidents or ())
        self._missed = self._missed or incidents is None or len(self._waiting) > _MOST
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        while self._waiting or self._missed:
            numbers, missed = sorted(self._waiting), self._missed
            self._waiting, self._missed = set(), False
            self._board.changes += 1
            if missed or not len(self._streams):
                self._streams.missed()
                continue
            for number in numbers:
                await self._show(number)

    async def _show(self, number: int) -> None:
        try:
            stored = await self._store.incident(number)
        except StoreError:
            self._streams.missed()
            return
        if stored is not None:
            after = stored[0]
            # What was not open when somebody looked last is new to every page.
            self._streams.changed(self._board.known(number) or Incident(id=number, key=after.key), after)
