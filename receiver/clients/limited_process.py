"""Asks a module that runs as a process of its own, so that what it works on can take neither time nor memory of ours.

The module reads its request from standard input and writes its answer to standard output: one of each (``ask``), or a
line for each line (``Worker``).
"""

import asyncio
import contextlib
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# What Python itself may need; no secret of ours that stands in the environment.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONTZPATH", "LANG", "LC_ALL")


class AnswerTooLargeError(Exception):
    """It wrote more than was allowed, and was killed."""


async def ask(module: str, request: bytes, *, seconds: float, largest: int) -> bytes:
    """Give what it writes, "" if it died; TimeoutError after ``seconds``, AnswerTooLargeError beyond ``largest`` bytes.

    However this ends, the process is gone.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # a traceback would quote the request
        env=_environment(),
    )
    try:
        async with asyncio.timeout(seconds):
            _, answer = await asyncio.gather(_give(process, request), _take(process, largest))
            await process.wait()
            return answer
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.kill()
        await process.wait()


class WorkerTimeoutError(Exception):
    """It took too long, and was stopped."""


class Worker:
    """A process that is asked again and again, by one thread at a time; it is used up once it is not ``alive``."""

    def __init__(self, module: str, *, largest: int, environment: tuple[str, ...] = ()) -> None:
        """Start it; ``environment`` names variables that are passed on besides Python's own."""
        self._largest = largest
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            (sys.executable, "-m", module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(environment),
            bufsize=0,
        )

    def is_ready(self, deadline: float) -> bool:
        """Wait for the empty line that it begins with; False if none came."""
        try:
            return self._read(deadline) == b"\n"
        except (WorkerTimeoutError, OSError, ValueError):
            return False

    @property
    def alive(self) -> bool:
        """Say whether it may be asked."""
        return self._process.poll() is None

    def ask(self, line: bytes, deadline: float) -> bytes:
        """Give the line that it answers, blocking; "" if it died or said too much.

        ``deadline`` is by ``time.monotonic``. Raises WorkerTimeoutError after it; it is stopped then, as when it died.
        """
        with contextlib.suppress(OSError, ValueError):  # it died, or was stopped meanwhile
            self._write(line + b"\n")
            return self._read(deadline)
        self.stop()
        return b""

    def _write(self, text: bytes) -> None:
        while text and self._process.stdin is not None:  # unbuffered, so that closing it has nothing left to write
            text = text[self._process.stdin.write(text) :]

    def _read(self, deadline: float) -> bytes:
        answer, pipe = bytearray(), self._process.stdout
        while pipe is not None and not answer.endswith(b"\n") and len(answer) <= self._largest:
            if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self.stop()
                raise WorkerTimeoutError
            chunk = os.read(pipe.fileno(), 1 << 16)
            if not chunk:
                break
            answer += chunk
        if not answer.endswith(b"\n"):
            self.stop()
            return b""
        return bytes(answer)

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _environment(more: tuple[str, ...] = ()) -> dict[str, str]:
    passed = {name: os.environ[name] for name in (*_PASSED_ON, *more) if name in os.environ}
    return {**passed, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}


def limit(memory: int, cpu: int = resource.RLIM_INFINITY) -> None:
    """Limit this process: bytes of address space, of which Python and its libraries take a part, and seconds of CPU."""
    for name, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_CORE, 0)):
        if most == resource.RLIM_INFINITY:
            continue
        hard = resource.getrlimit(name)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (allowed, allowed))


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Be the process of a ``Worker``: an empty line when it is ready, then an answer for each line of the input."""
    _say(b"")
    for line in sys.stdin.buffer:
        _say(answer(line))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


async def _give(process: asyncio.subprocess.Process, request: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: its answer says so
        process.stdin.write(request)
        await process.stdin.drain()
    process.stdin.close()


async def _take(process: asyncio.subprocess.Process, largest: int) -> bytes:
    answer = bytearray()
    while process.stdout is not None and (chunk := await process.stdout.read(1 << 20)):
        answer += chunk
        if len(answer) > largest:
            raise AnswerTooLargeError
    return bytes(answer)
