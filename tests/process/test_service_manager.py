"""systemd's protocols: sockets are taken only by the process that they are for, and it hears what it asked to hear."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket

import pytest

from process import service_manager
from process.service_manager import feed_watchdog, inherited_sockets, notify
from process.settings import SettingsError


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket]:
    """A listening socket where systemd would put its first one."""
    with socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        copy = os.dup(sock.fileno())
        monkeypatch.setattr(service_manager, "_FIRST", copy)
        yield sock
        with suppress(OSError):
            os.close(copy)


def environment_with(number: str = "1", pid: str = "42", names: str = "receiver") -> dict[str, str]:
    return {"LISTEN_FDS": number, "LISTEN_PID": pid, "LISTEN_FDNAMES": names, "HOME": "/"}


def test_a_socket_is_taken_by_its_name_and_the_variables_are_removed(listening: socket) -> None:
    environment = environment_with()
    ((name, (taken,)),) = inherited_sockets(environment, 42).items()
    assert (name, taken.getsockname()) == ("receiver", listening.getsockname())
    assert not os.get_inheritable(taken.fileno())
    assert environment == {"HOME": "/"}
    taken.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        environment_with(pid="43"),
        environment_with(number="0"),
        environment_with(number="x"),
        environment_with(number=""),
    ],
)
def test_what_is_for_another_process_is_left(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment, 42) == {}
    assert "LISTEN_FDS" not in environment


def test_a_socket_without_a_name_has_an_empty_one(listening: socket) -> None:
    environment = environment_with(names="")
    (taken,) = inherited_sockets(environment, 42)[""]
    taken.close()


def test_a_socket_that_does_not_listen_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket() as sock:
        monkeypatch.setattr(service_manager, "_FIRST", os.dup(sock.fileno()))
        with pytest.raises(SettingsError, match="LISTEN_FDS"):
            inherited_sockets(environment_with(), 42)


def test_a_descriptor_that_is_no_socket_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    monkeypatch.setattr(service_manager, "_FIRST", descriptor)
    with pytest.raises(SettingsError, match="LISTEN_FDS"):
        inherited_sockets(environment_with(), 42)
    os.close(descriptor)


@pytest.mark.parametrize("address", ["{folder}/notify", "@heypeter-{pid}"])
def test_systemd_hears_what_it_is_told(tmp_path: Path, address: str) -> None:
    address = address.format(folder=tmp_path, pid=os.getpid())
    with socket(AF_UNIX, SOCK_DGRAM) as heard:
        heard.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        heard.settimeout(30)
        notify("READY=1", {"NOTIFY_SOCKET": address})
        assert heard.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "relative"}])
def test_whoever_does_not_listen_is_told_nothing(environment: dict[str, str]) -> None:
    notify("READY=1", environment)


async def test_the_watchdog_is_fed_twice_in_its_time(tmp_path: Path) -> None:
    with socket(AF_UNIX, SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(0)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "20000"}
        task = asyncio.ensure_future(feed_watchdog(environment))
        for _ in range(3):
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(heard, 100), 30) == b"WATCHDOG=1"
        task.cancel()


@pytest.mark.parametrize("limit", ["", "0", "x"])
async def test_without_a_watchdog_nothing_is_fed(limit: str) -> None:
    await feed_watchdog({"WATCHDOG_USEC": limit})
