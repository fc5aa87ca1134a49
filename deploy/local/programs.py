"""Starts the programs of a site, waits until they are ready, watches them, and stops them in order."""

import asyncio
import contextlib
import ctypes
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from deploy.local.installation import ROOT, Site, SiteError

PATIENCE = 60.0  # seconds until a program must be ready
GRACE = 15.0  # seconds that a program gets to stop
PR_SET_PDEATHSIG = 1  # prctl(2)


def commands(site: Site) -> dict[str, list[str]]:
    """Give the command line of each program, in the order of starting."""
    tools, data = ROOT / ".stack/bin", site.data
    python = [sys.executable, "-m"]
    return {
        "receiver": [*python, "receiver", f"--config.file={data / 'receiver.yml'}"],
        "exporter": [
            *(*python, "exporter", f"--config.file={data / 'exporter.yml'}"),
            f"--web.listen-address=127.0.0.1:{site.ports['exporter']}",
        ],
        "alertmanager": [
            *(str(tools / "alertmanager"), f"--config.file={data / 'alertmanager.yml'}"),
            *(f"--storage.path={data / 'alertmanager'}", "--cluster.listen-address="),
            f"--web.listen-address=127.0.0.1:{site.ports['alertmanager']}",
        ],
        "prometheus": [
            *(str(tools / "prometheus"), f"--config.file={data / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={data / 'prometheus'}", "--storage.tsdb.retention.time=45d"),
            f"--web.listen-address=127.0.0.1:{site.ports['prometheus']}",
            f"--web.external-url={site.url('prometheus')}",
        ],
    }


class Program:
    """One running program; its log is a file, and the receiver's notifications go to the terminal."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log

    def last_words(self) -> str:
        """Give the last lines of its log."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-8:]) or "    (no output)"


class Programs:
    """All programs of a site."""

    def __init__(self, site: Site) -> None:
        self._site, self._running = site, list[Program]()

    async def start(self, ready: Callable[[str, float], None]) -> None:
        """Start all, and call ``ready`` for each as soon as it is; SiteError names one that never is."""
        began = time.monotonic()
        for name, command in commands(self._site).items():
            log = self._site.data / "logs" / f"{name}.log"
            with log.open("wb") as file:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=ROOT,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=None if name == "receiver" else file,
                    stderr=file,
                    start_new_session=True,  # the terminal's Ctrl-C is for the launcher, which stops all in order
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                )
            self._running.append(Program(name, process, log))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            for program in self._running:
                await self._wait(program, session, began + PATIENCE)
                ready(program.name, time.monotonic() - began)

    async def _wait(self, program: Program, session: aiohttp.ClientSession, deadline: float) -> None:
        url = f"{self._site.url(program.name)}/-/ready"
        while time.monotonic() < deadline:
            if program.process.returncode is not None:
                raise SiteError(f"{program.name} did not start. Its last output:\n{program.last_words()}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as answer:
                    if answer.ok:
                        return
            await asyncio.sleep(0.1)
        raise SiteError(
            f"{program.name} was not ready within {PATIENCE:.0f} s. Its last output:\n{program.last_words()}"
        )

    async def until(self, done: Awaitable[object]) -> None:
        """Wait for ``done``; SiteError if a program dies meanwhile."""
        waiting = asyncio.ensure_future(done)
        dying = {asyncio.ensure_future(program.process.wait()): program for program in self._running}
        finished, _ = await asyncio.wait([waiting, *dying], return_when=asyncio.FIRST_COMPLETED)
        if waiting in finished:
            finished = set()
            if waiting.exception():  # perhaps because a program died, which explains more
                finished, _ = await asyncio.wait([*dying], timeout=1, return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, *dying):
            task.cancel()
        await asyncio.gather(waiting, *dying, return_exceptions=True)
        for task, program in dying.items():
            if task in finished:
                ended = _ending(task.result())
                raise SiteError(
                    f"{program.name} exited unexpectedly ({ended}). Its last output:\n{program.last_words()}"
                )
        await waiting

    async def stop(self) -> None:
        """Stop all, senders first and the receiver last, so that nothing is sent to a stopped program."""
        for program in reversed(self._running):
            if program.process.returncode is None:
                program.process.terminate()
                try:
                    await asyncio.wait_for(program.process.wait(), GRACE)
                except TimeoutError:
                    program.process.kill()
                    await program.process.wait()


def _ending(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


def _die_with_parent() -> None:
    """Ask the kernel to end this child when the launcher dies, even by kill -9, so that no orphan keeps a port."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
