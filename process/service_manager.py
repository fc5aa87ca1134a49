"""What systemd hands to a service and wants to hear of it: inherited sockets, readiness and the watchdog.

systemd keeps a socket open while the service restarts: connections wait in it, and none is refused. The protocols are
those of sd_listen_fds(3) and sd_notify(3); without systemd's variables nothing here does anything.
"""

import asyncio
import os
import socket
from collections.abc import Mapping, MutableMapping

from process.settings import SettingsError

_FIRST = 3  # SD_LISTEN_FDS_START
_MICROSECONDS = 1_000_000


def inherited_sockets(environment: MutableMapping[str, str], pid: int) -> dict[str, list[socket.socket]]:
    """Take the listening sockets that were handed to this process, by FileDescriptorName; {} if there are none.

    The variables are removed, so that no child process takes the sockets for its own. SettingsError if one of them
    is no listening TCP socket.
    """
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    number, for_pid = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    if for_pid != str(pid) or not number.isdecimal():
        return {}
    taken: dict[str, list[socket.socket]] = {}
    for position in range(int(number)):
        name = names[position] if position < len(names) else ""
        taken.setdefault(name, []).append(_listening(_FIRST + position, name))
    return taken


def _listening(descriptor: int, name: str) -> socket.socket:
    os.set_inheritable(descriptor, False)  # noqa: FBT003  # as the function is
    try:
        sock = socket.socket(fileno=descriptor)
        is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise SettingsError(f"LISTEN_FDS: descriptor {descriptor} ({name}) is no socket") from error
    sock.settimeout(0)
    if not is_listening or sock.type != socket.SOCK_STREAM or sock.family not in {socket.AF_INET, socket.AF_INET6}:
        sock.close()
        raise SettingsError(
            f"LISTEN_FDS: socket {descriptor} ({name}) does not listen on TCP (expected ListenStream=HOST:PORT)"
        )
    return sock


def notify(state: str, environment: Mapping[str, str]) -> None:
    """Tell systemd ``READY=1``, ``STOPPING=1`` or ``WATCHDOG=1``, if it wants to know."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), f"\0{address[1:]}" if address[0] == "@" else address)
        except OSError:
            return  # systemd notices by itself that it hears nothing


async def feed_watchdog(environment: Mapping[str, str]) -> None:
    """Tell systemd, twice in WatchdogSec, that the event loop runs; without WatchdogSec return at once."""
    limit = environment.get("WATCHDOG_USEC", "")
    if not limit.isdecimal() or int(limit) == 0:
        return
    while True:
        notify("WATCHDOG=1", environment)
        await asyncio.sleep(int(limit) / _MICROSECONDS / 2)
