"""Both processes with 200 open files: half-sent headers and bombs of strangers hold up nobody who has the token."""

import asyncio
import gzip
import io
import resource
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from deploy.local.ports import free_port
from tests.stories.stack import PATIENCE, until

FILES = 200
HALF = b"POST %s HTTP/1.1\r\nHost: x\r\nX-"
TOKEN = "flood-token"


def _exporter(folder: Path, port: int) -> tuple[list[str], str, dict[str, Any]]:
    config = {"listen": f"127.0.0.1:{port}", "events": {"token": TOKEN}, "storage": {"path": str(folder / "state")}}
    path = folder / "exporter.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    event = {"type": "audit_entry", "data": {}}
    return ["exporter", f"--config.file={path}"], "/api/events", event


def _write_secrets(part: object, folder: Path) -> None:
    """Write a file for each secret that a configuration names."""
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key.endswith("_file"):
            (folder / value).parent.mkdir(exist_ok=True)
            (folder / value).write_text("a" * 32, "utf-8")
        _write_secrets(value, folder)


def _receiver(folder: Path, port: int) -> tuple[list[str], str, dict[str, Any]]:
    config = yaml.safe_load(Path("tests/receiver/receiver.yml").read_text("utf-8"))
    config["database"] = str(folder / "receiver.db")
    config["webhook"] = {"token": TOKEN}
    for name in ("alertmanager", "heartbeat"):
        config.pop(name, None)
    _write_secrets(config, folder)
    path = folder / "receiver.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    alert = {
        "labels": {"alertname": "Test", "severity": "info"},
        "annotations": {},
        "status": "firing",
        "fingerprint": "f",
        "startsAt": "2026-11-26T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    group = {"version": "4", "groupKey": "k", "receiver": "r", "status": "firing", "alerts": [alert], "groupLabels": {}}
    options = [f"--config.file={path}", f"--web.listen-address=127.0.0.1:{port}"]
    return ["receiver", *options], "/webhook/alertmanager", group


@asynccontextmanager
async def _running(module: list[str], port: int, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", *module, stderr=file, preexec_fn=limit)

    async def ready() -> bool:
        assert process.returncode is None, _said(log)
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectorError:
            return False

    try:
        await until("it is ready", ready)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 60)


def _said(log: Path) -> str:
    return log.read_text("utf-8")


async def _post(url: str, body: object) -> None:
    """Post with the token over a connection of its own, which has to be answered in time."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as answer,
    ):
        assert answer.status in {200, 202}, await answer.text()


async def _bomb(url: str, bomb: bytes) -> int:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=io.BytesIO(bomb), headers={"Content-Encoding": "gzip"}) as answer,
        ):
            return answer.status
    except aiohttp.ClientError:  # ended in favour of another
        return 401


def _memory(process: asyncio.subprocess.Process) -> int:
    """The most memory that it has had, in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.mark.parametrize("program", [_exporter, _receiver])
async def test_half_sent_headers_and_bombs_do_not_hold_up_an_authenticated_peer(
    program: Callable[[Path, int], tuple[list[str], str, dict[str, Any]]], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    module, path, body = program(tmp_path, port)
    url, bomb = f"http://127.0.0.1:{port}{path}", gzip.compress(bytes(500 * 1024 * 1024), 1)
    async with _running(module, port, log) as process:
        for _ in range(5):
            await _post(url, body)
        memory = _memory(process)
        writers = []
        for number in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HALF % path.encode())
            writers.append(writer)
            if number % 100 == 99:
                await _post(url, body)
        bombs = [asyncio.ensure_future(_bomb(url, bomb)) for _ in range(6)]
        for _ in range(5):
            await _post(url, body)  # it was never answered before
        assert set(await asyncio.gather(*bombs)) == {401}
        assert _memory(process) - memory < 100 * 1024
        for writer in writers:
            writer.close()
    assert process.returncode == 0, _said(log)
    assert len(_said(log).splitlines()) < 200
