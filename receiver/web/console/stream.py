"""Sends open pages what has changed: made once for all that look alike, at most four times a second.

Each frame carries the count of changes up to it, after the name of this process: a page that comes back and has missed
something, or finds another process, is told to fetch itself again, and not all pages at the same moment.
"""

import asyncio
import contextlib
import logging
from collections.abc import Hashable, Mapping
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

from receiver.incident.model import Incident
from receiver.web.access.viewer import STILL_SIGNED_IN, StillSignedIn
from receiver.web.console.board import Board

log = logging.getLogger(__name__)

BETWEEN_FRAMES = 0.25  # seconds
TICK = 15.0  # seconds; a page that hears nothing for longer says that it is not live
_LATER = 1.0  # seconds until what a frame has left out is tried again
_BEHIND = 20  # frames that a slow reader may be behind; then it fetches the page again
_SPREAD = 10  # milliseconds for each open page over which they fetch themselves again
_RETRY = 500  # milliseconds until the first try to come back
_PING = 3600.0  # aiohttp-sse's own comments, which hx-sse does not show to our script; TICK stands for them


class Change(msgspec.Struct, frozen=True):
    """What became of one incident since the last frame."""

    before: Incident
    after: Incident


Changes = Mapping[int, Change]


class Frame(msgspec.Struct, frozen=True):
    """What one event says: HTML without a name, or the name of something that the page's script does."""

    data: str
    event: str | None = None
    unfinished: bool = False  # it leaves out what would have cost too much now: a later one is to say it


class View(Protocol):
    """What a page shows; pages with the same ``key`` get the same bytes."""

    @property
    def key(self) -> Hashable:
        """Give what tells views apart."""

    async def frame(self, changes: Changes) -> Frame | None:
        """Write what has changed on such pages; None if it does not concern them."""


class _Reader:
    """One open page."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.frames: list[tuple[str, Frame]] = []
        self.woken = asyncio.Event()
        self.ended = False
        self.doubted = False  # whether it may go on is to be asked before anything is sent

    def give(self, position: str, frame: Frame, refresh: Frame) -> None:
        self.frames = [*self.frames, (position, frame)] if len(self.frames) < _BEHIND else [(position, refresh)]
        self.woken.set()


class Streams:
    """The open pages. ``changed`` is called in the event loop after each commit, and waits for nothing."""

    def __init__(self, board: Board, process: str) -> None:
        self._board, self._process = board, process
        self._readers: dict[Hashable, set[_Reader]] = {}
        self._changes: dict[int, Change] = {}
        self._due = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._stopped = False

    def __len__(self) -> int:
        return sum(map(len, self._readers.values()))

    @property
    def position(self) -> str:
        """Name the state of now: a page is written with it, and its stream continues from there."""
        return f"{self._process}-{self._board.changes}"

    def changed(self, before: Incident, after: Incident) -> None:
        """Take in a change."""
        self._board.changed(before, after)
        if self._readers:
            known = self._changes.get(after.id)
            self._changes[after.id] = Change(known.before if known else before, after)
            self._due.set()

    def missed(self) -> None:
        """Let every page fetch itself again: something has changed, and nobody knows what."""
        for readers in self._readers.values():
            for reader in readers:
                reader.give(self.position, self._refresh(), self._refresh())

    async def serve(self, request: web.Request, view: View) -> web.StreamResponse:
        """Answer with the events of a view, until the page goes or the process stops."""
        reader = _Reader(view)
        readers = self._readers.setdefault(view.key, set())
        readers.add(reader)
        if self._loop is None:
            self._loop = asyncio.ensure_future(self._run())
        known = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        if known != self.position:
            reader.give(self.position, self._refresh(), self._refresh())
        try:
            async with sse_response(request, ping_interval=_PING) as response:
                await response.send("", event="tick", id=self.position, retry=_RETRY)
                with contextlib.suppress(ConnectionResetError, TimeoutError):
                    await self._send(reader, response, request.get(STILL_SIGNED_IN))
        finally:
            readers.discard(reader)
            if not readers:
                self._readers.pop(view.key, None)
        return response

    async def stop(self, _app: web.Application | None = None) -> None:
        """End every stream for good: the server waits for them before it closes."""
        self._stopped = True
        await self.end_all()
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def end_all(self) -> None:
        """End every stream; the pages come back."""
        for reader in [one for readers in self._readers.values() for one in readers]:
            reader.ended = True
            reader.woken.set()

    def ask_again(self) -> None:
        """Let every stream ask whether it may go on, before it sends anything more: somebody has been signed out."""
        for readers in self._readers.values():
            for reader in readers:
                reader.doubted = True
                reader.woken.set()

    async def _send(
        self, reader: _Reader, response: EventSourceResponse, still_signed_in: StillSignedIn | None
    ) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        while not (self._stopped or reader.ended) and response.is_connected():
            if still_signed_in is not None and (reader.doubted or loop.time() - asked >= TICK):
                reader.doubted, asked = False, loop.time()
                if not await still_signed_in():
                    await response.send("", event="signed-out")
                    return
            frames, reader.frames = reader.frames, []
            for position, frame in frames:
                await response.send(frame.data, id=position, event=frame.event)
            try:
                async with asyncio.timeout(TICK):
                    await reader.woken.wait()
            except TimeoutError:
                await response.send("", event="tick")
            reader.woken.clear()

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            changes, self._changes = self._changes, {}
            if await self._make_frames(changes):
                self._changes = changes | self._changes
                asyncio.get_running_loop().call_later(_LATER, self._due.set)
            await asyncio.sleep(BETWEEN_FRAMES)

    async def _make_frames(self, changes: dict[int, Change]) -> bool:
        """Give every page its frame; True if one of them is unfinished."""
        position, unfinished = self.position, False
        for readers in list(self._readers.values()):
            first = next(iter(readers), None)
            frame = await self._frame(first.view, changes) if first else None
            if frame is not None:
                unfinished = unfinished or frame.unfinished
                for reader in readers:
                    reader.give(position, frame, self._refresh())
        return unfinished

    async def _frame(self, view: View, changes: Changes) -> Frame | None:
        try:
            return await view.frame(changes)
        except Exception as error:
            # One page that cannot be written must not stop the others, which would go on to say that they are live.
            log.exception("cannot write what has changed of a page: %s", type(error).__name__)
            return self._refresh()

    def _refresh(self) -> Frame:
        return Frame(str(_SPREAD * len(self)), "refresh")
