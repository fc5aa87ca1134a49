"""Runs a Prometheus with a simulated history, which deploy.simulation.history writes once below .stack/."""

import asyncio
import fcntl
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from deploy.local.ports import free_port
from deploy.simulation import rule_results
from deploy.simulation.application import catalogue
from deploy.simulation.history import names_in_long_dashboards

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".stack/preview-past"
PROMETHEUS = ROOT / ".stack/bin/prometheus"
END = "2026-11-24T13:50:00Z"  # a Tuesday evening where the school is; fixed, so that pictures do not change
DAYS = 35
_LIVE = ("firings.py", "school.py", "traffic.py")  # modules that write nothing of it
PATIENCE = 60.0  # seconds until Prometheus must answer


class PastError(Exception):
    """There is no history to show; the message says why."""


def data_digest() -> str:
    """Return a digest of what the history is made of: rules and catalogue without their texts, and the simulation."""
    modules = sorted(path for path in (ROOT / "deploy/simulation").glob("*.py") if path.name not in _LIVE)
    written = catalogue()
    families = [{key: value for key, value in one.items() if key != "help"} for one in written["families"]]
    lists = (ROOT / "deploy/local/exporter.yml").read_bytes()
    sources = [*(path.read_bytes() for path in modules), repr((families, written["buckets"])).encode(), lists]
    names = sorted(names_in_long_dashboards())
    return hashlib.sha256(b"".join(sources) + repr((rule_results.read(), names, END, DAYS)).encode()).hexdigest()


@asynccontextmanager
async def past(say: Callable[[str], None]) -> AsyncIterator[tuple[str, datetime]]:
    """Give the address of a Prometheus and the time at which its history ends; PastError says what failed."""
    PLACE.parent.mkdir(exist_ok=True)
    with PLACE.with_suffix(".lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)  # another preview may be filling it
        await _fill(say)
    end = datetime.fromtimestamp(json.loads((PLACE / "history.json").read_text("utf-8"))["until"], UTC)
    url = f"127.0.0.1:{free_port()}"
    words = [
        f"--config.file={PLACE}/prometheus.yml",
        f"--storage.tsdb.path={PLACE}",
        "--storage.tsdb.retention.time=10y",
    ]
    process = await _start(str(PROMETHEUS), *words, f"--web.listen-address={url}")
    try:
        await _ready(f"http://{url}", process)
        yield f"http://{url}", end
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _fill(say: Callable[[str], None]) -> None:
    """Fill the folder, unless these rules and this simulation have filled it already."""
    digest = data_digest()
    stamp = PLACE / "filled"
    if stamp.exists() and stamp.read_text("ascii") == digest:
        return
    stamp.unlink(missing_ok=True)
    say(f"simulating {DAYS} days of a school (once, a few minutes) …")
    words = ["-m", "deploy.simulation.history", str(PLACE), f"--days={DAYS}", f"--until={END}", "--no-rules"]
    process = await _start(sys.executable, *words)
    if await process.wait() != 0:
        raise PastError(f"the simulation failed; run python {' '.join(words)} to see why")
    stamp.write_text(digest, "ascii")


async def _start(*command: str) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise PastError(f"{command[0]} is missing; run make stack") from error


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
        while process.returncode is None:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{url}/-/ready") as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(0.1)
    raise PastError(f"Prometheus did not start on {PLACE}; remove that folder and try again")
