"""Starts servers on one core and loads them from the other; the measure is the server's CPU time a request."""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast

ROOT = Path(__file__).resolve().parents[1]
_CORES = sorted(os.sched_getaffinity(0))
_TICK = os.sysconf("SC_CLK_TCK")
_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")


class Measured(NamedTuple):
    """Requests, seconds on the clock, seconds of the server's CPU, and the requests' latencies."""

    requests: int
    seconds: float
    cpu: float
    latencies: Sequence[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Requests a second of the server's CPU."""
        return self.requests / self.cpu

    @property
    def microseconds(self) -> float:
        """Server CPU a request."""
        return self.cpu / self.requests * 1e6

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


class Loaded(Protocol):
    """A server under load: its port, and the seconds of CPU that it has used."""

    port: int

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""


class Server:
    """A server process pinned to the first core; of our own programs the event loop is watched (bench/watched.py)."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        with core(0):
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "GOMAXPROCS": "1"},
            )
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.process.kill()
                    self.process.wait()
                    raise SystemExit(f"{command[:3]} does not listen on {port}") from None
                time.sleep(0.05)

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        return cpu_of(self.process.pid)

    def memory(self) -> float:
        """Resident megabytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text("utf-8").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        """Stop the process."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def cpu_of(*pids: int) -> float:
    """Give the seconds of CPU that processes have used, with all that they have started."""
    parents, used = dict[int, int](), dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            fields = stat.read_text("utf-8").rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            used[int(stat.parent.name)] = sum(map(int, fields[11:15]))  # its own, and of its children that have ended
    family = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(used.get(pid, 0) for pid in family) / _TICK


def request(path: str, body: bytes, headers: dict[str, str], method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    """One connection that sends the next request as soon as the last is answered, until ``until``.

    A protocol costs the load's core a third of what streams do, so that the server is what is waited for.
    """

    def __init__(self, requests: Iterator[bytes], until: float, latencies: list[float]) -> None:
        self._requests, self._until, self._latencies = requests, until, latencies
        self._began, self._got = 0.0, b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def _send(self) -> None:
        raw = next(self._requests, None)
        if raw is None:
            self._until = 0.0
            self._transport.close()
            return
        self._began = time.monotonic()
        self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        """Read an answer; when it is whole, note its time and send the next request."""
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 2"):
            self._fail(f"refused: {self._got!r}")
            return
        length = _LENGTH.search(head)
        if length is not None and len(body) < int(length[1]):
            return
        now, self._got = time.monotonic(), b""
        self._latencies.append(now - self._began)
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; before the time is over only the server can have done it."""
        if time.monotonic() < self._until:
            self._fail(f"the server closed the connection: {exc}")
        elif not self.ended.done():
            self.ended.set_result(None)

    def _fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(SystemExit(why))


async def flood(server: Loaded, requests: Iterable[bytes], seconds: float, connections: int) -> Measured:
    """Send requests over several connections, each waiting for its response, until the time or they are over."""
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    before, began = server.cpu(), time.monotonic()
    until, each = began + seconds, iter(requests)
    made = (
        loop.create_connection(lambda: _Connection(each, until, latencies), "127.0.0.1", server.port)
        for _ in range(connections)
    )
    await asyncio.gather(*[protocol.ended for _, protocol in await asyncio.gather(*made)])
    used = max(server.cpu() - before, 1 / _TICK)  # the kernel counts whole ticks
    return Measured(len(latencies), time.monotonic() - began, used, latencies)


def load(server: Loaded, raw: bytes, seconds: float = 4.0, connections: int = 32) -> Measured:
    """Repeat one request over several connections, each waiting for its response."""
    with core(-1):
        return asyncio.run(flood(server, itertools.repeat(raw), seconds, connections))


@contextlib.contextmanager
def core(number: int) -> Iterator[None]:
    """Keep this process, and what it starts, on one core: the first for servers, the last for their load."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {_CORES[number]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def program(name: str, config: Path, *, by: str = "bench.watched") -> list[str]:
    """Give the command of one of our programs, run ``by`` a module that watches it: its event loop."""
    words = ["-m", *([by] if by else []), name, f"--config.file={config}"]
    return python(*words)
