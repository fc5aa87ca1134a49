"""Reads on-call calendars: fetches the text from a file or a URL, and has it expanded in a process of its own.

One line of a calendar can keep Python busy for hours or fill the memory. In its own process it can be stopped, and it
takes neither the event loop nor SIGTERM with it.
"""

import asyncio
import os
import stat
from datetime import datetime
from pathlib import Path

import aiohttp
import msgspec

from process.settings import Secret
from receiver.clients.calendar_task import MEMORY, Task
from receiver.clients.guarded_get import FetchError, get
from receiver.clients.limited_process import AnswerTooLargeError, ask
from receiver.oncall.calendar_entries import Calendar, CalendarError

LARGEST = 16 * 1024 * 1024  # bytes of a calendar
_LARGEST_ANSWER = 32 * 1024 * 1024  # bytes of what the process gives
_FETCHED_IN = 30.0  # seconds
EXPANDED_IN = 120.0  # seconds, of which it may take `calendar_process.CPU` on the processor
_MODULE = "receiver.clients.calendar_process"


class Feed(msgspec.Struct, frozen=True):
    """One calendar: the schedule that it fills, its time zone, and where it is."""

    schedule: str
    zone: str
    file: Path | None = None
    url: Secret | None = None
    private_redirects: bool = False


class FeedError(Exception):
    """The calendar cannot be had; the text never shows its URL, which is a secret."""


async def fetch(feed: Feed, session: aiohttp.ClientSession) -> bytes:
    """Give the text of a calendar; FeedError if it cannot be had."""
    if feed.file is not None:
        return await asyncio.to_thread(_contents, feed.file)
    if feed.url is None:
        raise FeedError("neither file nor url is set")
    try:
        status, body = await get(
            session,
            feed.url.reveal(),
            seconds=_FETCHED_IN,
            largest=LARGEST,
            private_redirects=feed.private_redirects,
        )
    except FetchError as error:
        raise FeedError(str(error)) from None
    if status != 200:  # noqa: PLR2004  # OK
        raise FeedError(f"the server answered {status}")
    return body


class Expander:
    """Expands one calendar at a time, so that many calendars do not take the machine."""

    def __init__(self, seconds: float = EXPANDED_IN, memory: int = MEMORY) -> None:
        self._seconds, self._memory, self._turn = seconds, memory, asyncio.Lock()

    async def expand(self, text: bytes, zone: str, start: datetime, end: datetime) -> Calendar:
        """Give what takes place from ``start`` to ``end``; see receiver.oncall.ical.expand. Raises CalendarError.

        When this is cancelled, the process is killed.
        """
        async with self._turn:
            answer = await self._run(msgspec.json.encode(Task(zone, start, end, self._memory)) + b"\n" + text)
        if answer.startswith(b"error: "):
            raise CalendarError(answer[len(b"error: ") :].decode())
        try:
            return msgspec.json.decode(answer, type=Calendar)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise CalendarError("it takes too much time or memory to expand") from None

    async def _run(self, request: bytes) -> bytes:
        try:
            return await ask(_MODULE, request, seconds=self._seconds, largest=_LARGEST_ANSWER)
        except TimeoutError:
            raise CalendarError(f"it takes more than {self._seconds:g} seconds to expand") from None
        except AnswerTooLargeError:
            raise CalendarError("it expands to too much") from None


def _contents(file: Path) -> bytes:
    """Read a file of a bounded size; a pipe or a device would keep the thread for ever."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise FeedError(f"{file}: not a regular file")
            text = opened.read(LARGEST + 1)
    except OSError as error:
        raise FeedError(f"{file}: {error.strerror}") from error
    if len(text) > LARGEST:
        raise FeedError(f"{file}: larger than {LARGEST >> 20} MB")
    return text
