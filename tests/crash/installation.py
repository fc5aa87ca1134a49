"""What a storm rages over: a kind of database, and the receiver on it, which its program starts again and again."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from deploy.local.ports import free_port
from tests.crash.book import Book

ROOT = Path(__file__).resolve().parents[2]


class Installation(Protocol):
    """A kind of database."""

    name: str

    def settings(self) -> dict[str, Any]:
        """Give what the configuration says of the database."""

    def integrity(self) -> str:
        """Give ``ok``, or what is wrong with the database."""


class OnSQLite:
    """One file, one receiver."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "receiver.sqlite3"

    def settings(self) -> dict[str, Any]:
        return {"database": str(self.path)}

    def integrity(self) -> str:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as db:
            return str(db.execute("PRAGMA integrity_check").fetchone()[0])


class Process:
    """One receiver: ``start`` begins a life of it, ``ended`` waits for the end of that life."""

    def __init__(self, folder: Path, book: Book, name: str = "receiver") -> None:
        self._folder, self._book, self.port = folder, book, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
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
        self._book.life += 1
        self._book.pid = (await self._said())["pid"]
        self._book.write(type="birth", life=self._book.life)

    async def ended(self) -> int:
        """Give the status of the life that ran."""
        return int((await self._said())["status"])

    async def end(self) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        await self._program.wait()

    def log(self) -> str:
        return self._written.read_text("utf-8", "replace")[-2000:]

    async def _said(self) -> dict[str, int]:
        assert self._program.stdout is not None
        return dict(json.loads(await self._program.stdout.readline()))
