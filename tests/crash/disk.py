"""Storms in which the disk fails: it is full, read-only or broken for a while, or a file is torn by a crash."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.crash.installation import OnSQLite
from tests.crash.storm import Storm

# What the kernel says of a disk that is full, mounted read-only, or broken.
SPELLS = {
    "full": "inject=pwrite64:error=ENOSPC",
    "read-only": "inject=pwrite64:error=EROFS",
    "broken": "inject=pwrite64:error=EIO",
    "not synced": "inject=fdatasync:error=EIO",
}
SPELL = 1.5  # seconds
_HEADER, _FRAME_HEADER = 32, 24  # bytes; sqlite.org/fileformat2.html#the_write_ahead_log


class Disk(Storm):
    """``fail`` breaks the disk under a running receiver; its kills come in every second spell."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._file = OnSQLite(folder)
        super().__init__(folder, seed, on=self._file)
        self.hits = Counter[str]()

    async def fail(self, spells: list[str]) -> None:
        """Let the disk fail in each of these ways, one after the other."""
        weather = asyncio.ensure_future(self.begin_incidents())
        ended = await self._live()
        try:
            for number, spell in enumerate(spells):
                await asyncio.sleep(self.chance.uniform(0.5, 1.0))
                tracer = await self.trace(SPELLS[spell])
                self.book.write(type="disk", kind=spell)
                await asyncio.sleep(self.chance.uniform(0.5, SPELL))
                if number % 2:
                    ended = await self._killed(ended)
                if tracer.returncode is None:
                    tracer.send_signal(signal.SIGINT)  # it lets go
                await tracer.wait()
                self.hits[spell] += 1
        finally:
            weather.cancel()

    async def tear(self, kinds: list[str]) -> None:
        """Kill it, tear what it has written in each of these ways, and start it again."""
        weather = asyncio.ensure_future(self.begin_incidents())
        ended = await self._live()
        try:
            for kind in kinds:
                await asyncio.sleep(self.chance.uniform(0.5, 1.0))
                ended = await self._killed(ended, TEARS[kind])
                self.hits[kind] += 1
        finally:
            weather.cancel()

    async def _live(self) -> "asyncio.Future[int]":
        await self.process.start({})
        return asyncio.ensure_future(self.process.ended())

    async def _killed(
        self, ended: "asyncio.Future[int]", tear: Callable[[Path], None] = lambda _path: None
    ) -> "asyncio.Future[int]":
        self.book.kill("random")
        assert await ended == signal.SIGKILL, self.process.log()
        await self.over()
        tear(self._file.path)
        return await self._live()


def log_of(path: Path) -> Path:
    """Name the write-ahead log of a database."""
    return path.with_name(f"{path.name}-wal")


def torn_frame(path: Path) -> None:
    """Leave half a frame at the end of the log, as a crash in the middle of its write does."""
    log = log_of(path)
    written = log.read_bytes()
    if len(written) > _HEADER + _FRAME_HEADER:
        size = int.from_bytes(written[8:12], "big")
        log.write_bytes(written[: _committed(written)] + written[_HEADER : _HEADER + _FRAME_HEADER + size // 2])


def garbage(path: Path) -> None:
    """Leave whole frames at the end of the log that nobody has committed: zeros, as a file that was made longer has."""
    log = log_of(path)
    written = log.read_bytes()
    if len(written) > _HEADER + _FRAME_HEADER:
        log.write_bytes(
            written[: _committed(written)] + bytes(3 * (_FRAME_HEADER + int.from_bytes(written[8:12], "big")))
        )


def no_index(path: Path) -> None:
    """Lose the index of the log, which is made anew from it."""
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)


TEARS = {"torn frame": torn_frame, "garbage": garbage, "no index": no_index}


def _committed(log: bytes) -> int:
    """Give where the last frame that ends a transaction ends: what follows was promised to nobody."""
    size = _FRAME_HEADER + int.from_bytes(log[8:12], "big")
    ends = [
        start + size
        for start in range(_HEADER, len(log) - size + 1, size)
        if log[start + 8 : start + 16] == log[16:24] and int.from_bytes(log[start + 4 : start + 8], "big")
    ]
    return ends[-1] if ends else _HEADER
