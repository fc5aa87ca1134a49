"""What the support bundles of both programs have in common: what is asked, read and packed."""

import argparse
import asyncio
import io
import os
import platform
import sys
import tarfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

import aiohttp

from process.findings import reason
from process.settings import SettingsError
from process.version import VERSION

_MOST_LOG = 5 * 1024 * 1024  # bytes of the end of the log
_MOST_ANSWER = 16 * 1024 * 1024
_OK = 200
_PATIENCE = aiohttp.ClientTimeout(total=10)


def add_arguments(parser: argparse._ActionsContainer, program: str) -> None:
    """Describe what both command lines have beside the configuration."""
    parser.add_argument(
        f"--{program}.url", dest="url", help=f"the {program}'s own; http://<listen> of the file otherwise"
    )
    parser.add_argument("--log.file", dest="log", type=Path, help="a file with its log, e.g. of journalctl")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .tar.gz that does not exist; here otherwise")


def write(target: Path | None, files: Mapping[str, str], now: datetime, program: str) -> str:
    """Write the archive, and give what to say of it; SettingsError if it cannot be written whole."""
    path = target or Path(f"heypeter-{program}-support-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsError(f"--out {path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_packed(files, now))
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SettingsError(f"--out {path}: cannot be written ({error.strerror})") from error
    return f"{path}: {', '.join(files)}\nlook through it before you send it"


def versions(program: str, more: Iterable[str]) -> str:
    """List what runs: the program, ``more`` of it, Python, the system and the packages."""
    lines = [
        f"{program} {VERSION}",
        *more,
        f"Python {sys.version.split()[0]}, {platform.platform()}",
        *sorted({f"{one.name} {one.version}" for one in distributions()}),
    ]
    return "\n".join(lines) + "\n"


def asked(url: str) -> tuple[str, str]:
    """Ask the running program for its readiness and its metrics; a failure is the text."""
    return asyncio.run(_asked(url.rstrip("/")))


async def _asked(url: str) -> tuple[str, str]:
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
        return f"# {url} cannot be asked: {reason(error)}\n"


def end_of(path: Path) -> str:
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


def _packed(files: Mapping[str, str], now: datetime) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, text in files.items():
            body = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"support-bundle/{name}")
            entry.size, entry.mtime, entry.mode = len(body), int(now.timestamp()), 0o600
            archive.addfile(entry, io.BytesIO(body))
    return target.getvalue()
