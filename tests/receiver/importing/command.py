"""Runs `receiver import` in a folder, against a stand-in or saved answers."""

import argparse
import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from process.settings import SettingsError
from receiver.cli import import_
from tests.fakes.server import FakeServer


@dataclass
class Imported:
    """What a run gave."""

    code: int
    out: str
    err: str


@dataclass
class Importing:
    """One source, a token and an output in ``folder``; no output may hold the token."""

    source: str
    server: FakeServer
    token: str
    now: datetime
    folder: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def output(self) -> Path:
        return self.folder / "receiver.yml"

    def written(self) -> list[Path]:
        """List the file and whatever was left beside it."""
        return list(self.folder.glob("*receiver.yml*"))

    async def run(self, *words: str) -> Imported:
        secret = self.folder / "token"
        secret.write_text(f"{self.token}\n", "utf-8")
        return await self.execute("--url", self.server.url, "--token-file", str(secret), *words)

    async def run_from(self, folder: str, *words: str) -> Imported:
        return await self.execute("--from", str(self.folder / folder), *words)

    async def execute(self, *words: str) -> Imported:
        parser = argparse.ArgumentParser()
        import_.add_arguments(parser)
        options = parser.parse_args([self.source, "--output.file", str(self.output), *words])
        try:
            code = await asyncio.to_thread(import_.run, options, self.now)
            wrong = ""
        except SettingsError as error:
            code, wrong = 1, f"{error}\n"
        printed = self.capsys.readouterr()
        files = [p.read_text("utf-8", "replace") for p in self.folder.rglob("*") if p.is_file() and p.name != "token"]
        assert self.token not in "".join([printed.out, printed.err, wrong, *files])
        return Imported(code, printed.out, printed.err + wrong)
