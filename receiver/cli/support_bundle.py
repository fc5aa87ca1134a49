"""`python -m receiver support-bundle`: what a bug report needs, in one file, without secrets."""

import argparse
import asyncio
import io
import os
import platform
import sqlite3
import sys
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

import aiohttp
import yaml

from process.errors import clean_lines
from process.settings import SettingsError
from process.version import VERSION
from receiver.cli.command import Command
from receiver.config.load import Config, load
from receiver.config.redacted import redacted
from receiver.store.migrations import SCHEMA_VERSION

_MOST_LOG = 5 * 1024 * 1024  # bytes of the end of the log
_MOST_ANSWER = 16 * 1024 * 1024
_OK = 200
_PATIENCE = aiohttp.ClientTimeout(total=10)
_ABOUT = """\
A support bundle of the receiver. Secrets, people's mail addresses and queries of URLs are taken out. It still has names
of people, teams and hosts, and titles of alerts: look through it before you send it.

receiver.yml   the configuration, without what has its default
versions.txt   of the program, of Python, of its packages and of the database
ready.txt      what /-/ready says
metrics.txt    what /metrics says
receiver.log   the end of the log, if --log.file was given
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    parser.add_argument("--config.file", dest="config", type=Path, required=True, help="receiver.yml")
    parser.add_argument("--receiver.url", dest="url", help="the receiver's own; http://<listen> of the file otherwise")
    parser.add_argument("--log.file", dest="log", type=Path, help="a file with the receiver's log, e.g. of journalctl")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .tar.gz that does not exist; here otherwise")


def run(options: argparse.Namespace, now: datetime) -> int:
    """0 and the name of the file; what could not be had is said inside it."""
    target = options.out or Path(f"heypeter-support-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    files = {"README.txt": _ABOUT, **_collected(options)}
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(_packed(files, now))
    except OSError as error:
        raise SettingsError(f"--out {target}: cannot be written ({error.strerror})") from error
    print(f"{target}: {', '.join(files)}")
    print("look through it before you send it")
    return 0


def _collected(options: argparse.Namespace) -> dict[str, str]:
    """Give each file's text. Of a configuration that cannot be read, only its errors are known."""
    try:
        config, _ = load(options.config)
    except SettingsError as error:
        errors = clean_lines(f"# cannot be read:\n{error}\n", ())
        return {"receiver.yml": errors, "versions.txt": _versions(None)}
    plain, secrets = redacted(config)
    shown = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=1000)
    ready, metrics = asyncio.run(_asked((options.url or f"http://{config.listen}").rstrip("/")))
    files = {
        "receiver.yml": shown,
        "versions.txt": _versions(config),
        "ready.txt": ready,
        "metrics.txt": metrics,
    }
    if options.log:
        files["receiver.log"] = _end_of(options.log)
    return {name: clean_lines(text, secrets) for name, text in files.items()}


def _versions(config: Config | None) -> str:
    lines = [
        f"receiver {VERSION}, schema {SCHEMA_VERSION}",
        f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, {platform.platform()}",
        f"database: {_schema(config.database) if config else 'unknown'}",
        *sorted({f"{one.name} {one.version}" for one in distributions()}),
    ]
    return "\n".join(lines) + "\n"


def _schema(database: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
            schema = db.execute("PRAGMA user_version").fetchone()[0]
            (count,) = db.execute("SELECT count(*) FROM incident").fetchone()
        return f"schema {schema}, {database.stat().st_size:,} bytes, {count:,} incidents"
    except (sqlite3.Error, OSError) as error:
        return f"cannot be read ({error})"


async def _asked(url: str) -> tuple[str, str]:
    """Ask the running receiver; an answer is cut at its limit, and a failure is the text."""
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        return await _get(session, f"{url}/-/ready"), await _get(session, f"{url}/metrics")


async def _get(session: aiohttp.ClientSession, url: str) -> str:
    try:
        async with session.get(url, allow_redirects=False) as answer:
            body = bytearray()
            async for piece in answer.content.iter_chunked(1 << 16):
                body += piece
                if len(body) >= _MOST_ANSWER:
                    break
            text = body.decode("utf-8", "replace")
            return text if answer.status == _OK else f"# {url} answered {answer.status}\n{text}"
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return f"# {url} cannot be asked: {type(error).__name__}\n"


def _end_of(path: Path) -> str:
    """Read whole lines from the end of a log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_LOG))
            body = file.read(_MOST_LOG)
    except OSError as error:
        raise SettingsError(f"--log.file {path}: cannot be read ({error.strerror})") from error
    text = body.decode("utf-8", "replace")
    return text if size <= _MOST_LOG else text[text.find("\n") + 1 :]


def _packed(files: dict[str, str], now: datetime) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            body = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"support-bundle/{name}")
            entry.size, entry.mtime, entry.mode = len(body), int(now.timestamp()), 0o600
            archive.addfile(entry, io.BytesIO(body))
    return target.getvalue()


COMMAND = Command(add_arguments, lambda options, clock: run(options, clock()))
