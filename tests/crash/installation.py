"""What a storm rages over: a kind of database, and the receiver on it, which its program starts again and again."""

import asyncio
import json
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg

from deploy.local.ports import free_port
from deploy.local.postgres import Postgres
from tests.crash.book import Book
from tests.crash.program import AFTER_COMMIT, STATEMENTS
from tests.crash.wire import CommitWire

ROOT = Path(__file__).resolve().parents[2]
_OUTAGE = "receiver.store.base.StoreOutageError"
_TWICE = """
SELECT incident_id, lane FROM outbox WHERE state = 'sending' GROUP BY 1, 2 HAVING count(*) > 1
"""


class Installation(Protocol):
    """A kind of database; ``statements`` are those at which a receiver on it can be killed.

    ``life`` are the seconds from when it listens, after which it is killed at random, if its own kill has not come;
    ``lease`` are those after which what is not settled is sent again by whoever lives, 0 if only a start does that.
    """

    statements: tuple[str, ...]
    life: float
    lease: float

    async def start(self) -> None:
        """Make it ready."""

    async def stop(self) -> None:
        """End it."""

    def settings(self) -> dict[str, Any]:
        """Give what the configuration says of the database."""

    def integrity(self) -> str:
        """Give ``ok``, or what is wrong with the database."""


class OnSQLite:
    """One file, one receiver."""

    statements = tuple(name for name in STATEMENTS if name != AFTER_COMMIT)
    life, lease = 1.2, 0.0

    def __init__(self, folder: Path) -> None:
        self.path = folder / "receiver.sqlite3"

    async def start(self) -> None:
        """There is nothing to be done."""

    async def stop(self) -> None:
        """As above."""

    def settings(self) -> dict[str, Any]:
        return {"database": str(self.path)}

    def integrity(self) -> str:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
            return str(db.execute("PRAGMA integrity_check").fetchone()[0])


class OnPostgres:
    """A server of its own, which may be restarted, and a line to it that may be cut."""

    statements = tuple(name for name in STATEMENTS if name != "start")
    life, lease = 4.0, 8.0

    def __init__(self, cut: Callable[[str], None] | None = None, cluster: Postgres | None = None) -> None:
        self._cluster = cluster or Postgres(free_port())
        self.wire = CommitWire(self._cluster.port, cut or (lambda _fault: None))
        self.is_direct = cut is None  # past the line that may be cut, which costs time

    async def start(self) -> None:
        await asyncio.to_thread(self._cluster.create)
        await self.run_server()
        await self.wire.start()

    async def stop(self) -> None:
        await self.wire.stop()
        await self._end(signal.SIGINT)
        await asyncio.to_thread(self._cluster.remove)

    async def restart(self) -> None:
        """Let it crash, and recover."""
        await self._end(signal.SIGQUIT)
        await self.run_server()

    def settings(self) -> dict[str, Any]:
        port = self._cluster.port if self.is_direct else self.wire.port
        return {"postgres": {"url": f"postgresql://postgres@127.0.0.1:{port}/postgres"}}

    def integrity(self) -> str:
        """Look for a lane of which two rows are being sent, and read all."""
        with psycopg.connect(f"host=127.0.0.1 port={self._cluster.port} user=postgres dbname=postgres") as db:
            twice = db.execute(_TWICE).fetchall()
            db.execute("SELECT sum(octet_length(doc)) FROM incident").fetchone()
        return f"two rows of a lane are being sent: {twice}" if twice else "ok"

    async def run_server(self) -> None:
        """Start it, and wait until it takes connections."""
        null = asyncio.subprocess.DEVNULL
        self._server = await asyncio.create_subprocess_exec(*self._cluster.command(), stdout=null, stderr=null, cwd="/")
        async with asyncio.timeout(60):
            while self._server.returncode is None and not self._cluster.is_ready():  # noqa: ASYNC110  # others are
                await asyncio.sleep(0.05)

    async def _end(self, how: signal.Signals) -> None:
        self._server.send_signal(how)
        await self._server.wait()


class Process:
    """One receiver: ``start`` begins a life of it, ``ended`` waits for the end of that life."""

    def __init__(self, folder: Path, book: Book, name: str = "receiver") -> None:
        self._folder, self._book, self.port = folder, book, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.life = 0  # that began last
        self.config, self._written = folder / f"{name}.yml", folder / f"{name}.log"

    async def begin(self, environment: Mapping[str, str]) -> None:
        """Load the modules; no life begins yet."""
        self._program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.crash.program"),
            *(str(self.config), str(self._written), str(self._folder / "hits")),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def start(self, asked: Mapping[str, object]) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(asked).encode() + b"\n")
        self.life = self._book.begin((await self._said())["pid"])

    async def listens(self, ended: "asyncio.Future[int]") -> None:
        """Wait until it takes connections, or has ended."""
        async with asyncio.timeout(60):
            while not ended.done():
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    async def ended(self) -> int:
        """Give the status of the life that ran."""
        return int((await self._said())["status"])

    async def end(self) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        await self._program.wait()

    def found_no_database(self) -> bool:
        """Say whether it has ended because the database went away at its start: whoever runs it tries again."""
        log = self.log()
        return "receiver.start(session)" in log and log.rstrip().rpartition("\n")[2].startswith(_OUTAGE)

    def log(self) -> str:
        return self._written.read_text("utf-8", "replace")[-2000:]

    async def _said(self) -> dict[str, int]:
        assert self._program.stdout is not None
        return dict(json.loads(await self._program.stdout.readline()))
