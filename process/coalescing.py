"""Runs a job, one at a time, for all who ask for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Coalesced(Generic[T]):
    """A job such as a reload. All who ask while it runs share one more run, as it may be past what they want done."""

    def __init__(self, job: Callable[[], Awaitable[T]]) -> None:
        self._job = job
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    def ask(self) -> "asyncio.Task[T]":
        """Return the run that begins after this call; await it within ``asyncio.shield``, as others do too."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._run(self._running))
        return self._next

    async def _run(self, before: "asyncio.Task[T] | None") -> T:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._job()
