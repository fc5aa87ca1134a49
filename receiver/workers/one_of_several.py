"""A loop that one of several receivers runs for all that share the database: whoever leads at the time."""

import asyncio
from collections.abc import Awaitable, Callable

from receiver.actions.inbound import nothing
from receiver.store.base import Store

_LOOKED_EVERY = 1.0  # seconds, at whether it still leads


class OneOfSeveral:
    """Runs ``run_once`` while this receiver leads, and ``rest`` once when it does not any more.

    ``rest`` lets go of what only the leader has, and of what metrics say of it: they would say it for ever.
    """

    def __init__(
        self,
        store: Store,
        run_once: Callable[[], Awaitable[object]],
        rest: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self._store, self._run_once, self._rest = store, run_once, rest
        self._term: int | None = None

    def is_due(self) -> bool:
        """Say whether this receiver leads anew, or not any more."""
        return self._store.term != self._term

    async def run(self) -> None:
        """Do it once."""
        before, self._term = self._term, self._store.term
        if self._term is not None:
            await self._while_it_leads()
        elif before is not None:
            await self._rest()

    async def _while_it_leads(self) -> None:
        """Run it; whoever was stopped in the middle does not do the rest, which another has done meanwhile."""
        running = asyncio.ensure_future(self._run_once())
        try:
            while not running.done() and not self.is_due():
                await asyncio.wait({running}, timeout=_LOOKED_EVERY)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        if not running.cancelled():
            running.result()
