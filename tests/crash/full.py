"""A storm in which the disk of PostgreSQL is full for a while: a real one, a small tmpfs that only its server sees."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from shutil import which

import aiohttp
import psycopg

from deploy.local.ports import free_port
from deploy.local.postgres import NOBODY, Postgres
from tests.crash.installation import OnPostgres
from tests.crash.storm import Storm

SIZE = "128m"  # of the disk; an empty database takes 40
SETTINGS = {"min_wal_size": "2MB", "max_wal_size": "8MB"}  # of segments of 1 MB: a new one is needed soon
PATIENCE = 60.0  # seconds in which the receiver must say that it is not ready, or that it is again
KINDS = ("tables", "log")
PIECES = 100  # of the log, of 1 MB, and more than the disk has
SPELL = 2.0  # seconds for which nothing can be written then
_MOUNT = f'mount -t tmpfs -o size={SIZE},mode=0700,uid={NOBODY},gid={NOBODY} none "$0" && echo mounted && exec cat'


def can_mount() -> bool:
    """Say whether we may mount a disk that only others see."""
    if os.geteuid() or not which("unshare") or not which("nsenter"):
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


class SmallDisk(Postgres):
    """A cluster on a disk of its own, which is gone when ``remove`` or our end lets go of it."""

    def __init__(self) -> None:
        super().__init__(free_port())
        self._mounted: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        data = self.folder / "data"
        data.mkdir()
        mount = ["unshare", "-m", "sh", "-c", _MOUNT, str(data)]
        self._mounted = subprocess.Popen(mount, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._mounted.stdout is not None
        assert self._mounted.stdout.readline() == b"mounted\n"
        self._become = ["nsenter", f"--mount=/proc/{self._mounted.pid}/ns/mnt", "--", *self._become]
        self.initdb("--wal-segsize=1")

    def command(self) -> list[str]:
        return super().command() + [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]

    def seen(self) -> Path:
        """Give the folder of the data as we see it."""
        assert self._mounted is not None
        return Path(f"/proc/{self._mounted.pid}/root{self.folder}/data")

    def is_ready(self) -> bool:
        with contextlib.suppress(FileNotFoundError):  # it comes and goes
            return super().is_ready()
        return False

    def fill(self) -> None:
        """Write until nothing more fits, in smaller and smaller pieces."""
        with (self.seen() / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):  # ENOSPC is the aim
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        """Make room again."""
        (self.seen() / "ballast").unlink(missing_ok=True)

    def remove(self) -> None:
        if self._mounted is not None:
            self._mounted.communicate()
        super().remove()


class OnFullDisk(OnPostgres):
    """Its server is started again when it has ended: it ends when it finds no room to recover."""

    def __init__(self) -> None:
        self.disk = SmallDisk()
        super().__init__(cluster=self.disk)
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await super().start()
        self._keeper = asyncio.ensure_future(self._keep())

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        await super().stop()

    async def fill_log(self) -> None:
        """Ask for new pieces of the log until there is no room for one: the server crashes, and recovers if it can."""
        url = f"host=127.0.0.1 port={self.disk.port} user=postgres dbname=postgres"
        for _ in range(PIECES):
            try:
                async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                    await connection.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 1000000))")
            except psycopg.Error as error:
                if error.sqlstate is None:  # the line is gone
                    return
        raise AssertionError("there is room for the log")

    async def _keep(self) -> None:
        while True:
            await self._server.wait()
            await asyncio.sleep(0.3)
            await self.run_server()


class Full(Storm):
    """``fill`` lets the disk be full again and again, half of the times with a kill of the receiver meanwhile.

    Without room for its tables PostgreSQL refuses what is written; without room for its log it crashes.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._database = OnFullDisk()
        super().__init__(folder, seed, on=self._database)
        self.hits = Counter[str]()

    async def fill(self, times: int) -> None:
        weather = asyncio.ensure_future(self.begin_incidents())
        ended = await self._live()
        try:
            for number, kind in enumerate(kind for kind in KINDS for _ in range(times)):
                await asyncio.sleep(self.chance.uniform(1.0, 2.0))
                began = time.time()
                self.book.write(type="disk", kind=f"full: {kind}")
                await asyncio.to_thread(self._database.disk.fill)
                if kind == "log":
                    await self._database.fill_log()
                await self._says(503)
                await asyncio.sleep(self.chance.uniform(0.5, SPELL))
                if number % 2:
                    self.book.kill("random")
                    assert await ended == signal.SIGKILL, self.process.log()
                    await self.over()
                self._database.disk.empty()
                if number % 2:
                    ended = await self._live()
                await self._says(200)
                self.book.write(type="disturbance", kind="disk full", at=began, lasts=time.time() - began)
                self.hits[kind] += 1
        finally:
            weather.cancel()

    async def _live(self) -> "asyncio.Future[int]":
        """Begin a life; one that begins while the database recovers ends by itself, and who runs it tries again."""
        while True:
            await self.process.start({})
            ended = asyncio.ensure_future(self.process.ended())
            await self.process.listens(ended)
            if not ended.done():
                return ended
            self.book.end(self.process.life)
            await asyncio.sleep(0.5)

    async def _says(self, wanted: int) -> None:
        """Wait until the receiver says whether it is ready; write down whether it has."""
        patience, status = time.monotonic() + PATIENCE, 0
        while status != wanted and time.monotonic() < patience:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.get(f"{self.process.url}/-/ready") as answer:
                    status = answer.status
            await asyncio.sleep(0.1)
        self.book.write(type="ready", wanted=wanted, status=status)


async def full(folder: Path, seed: int, times: int) -> tuple[Path, dict[str, int]]:
    """Run it, so often for each kind; gives the file of its history, and how often the disk was full."""
    async with Full(folder, seed) as storm:
        await storm.fill(times)
        await storm.rest()
        return storm.book.path, storm.hits
