"""Starts a program with listening sockets as systemd does: descriptors from 3 on, and the variables that name them."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from socket import SO_REUSEADDR, SOL_SOCKET, socket

LAUNCHER = """
import os, sys
number, *program = sys.argv[1:]
for position, descriptor in enumerate(number.split(",")):
    os.dup2(int(descriptor), 100 + position)
for position, _ in enumerate(number.split(",")):
    os.dup2(100 + position, 3 + position)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(program[0], program)
"""


def listening() -> socket:
    """Give a socket that listens on a free port of loopback, as a socket unit holds one."""
    sock = socket()
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


async def start(
    named: Mapping[str, socket], command: list[str], log: Path, **environment: str
) -> asyncio.subprocess.Process:
    """Start a program that inherits the sockets by these names."""
    descriptors = [sock.fileno() for sock in named.values()]
    environment = {**os.environ, "LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": ":".join(named), **environment}
    words = [sys.executable, "-c", LAUNCHER, ",".join(map(str, descriptors)), *command]
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *words, pass_fds=descriptors, env=environment, stdout=file, stderr=file
        )
