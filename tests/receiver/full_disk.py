"""Runs a receiver in a small folder, fills the disk, and empties it again; prints what happened as one line of JSON.

A program of its own, because it needs a mount of its own: test_outage.py starts it.
"""

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiohttp
from aiohttp.test_utils import TestClient, TestServer

from receiver.app import Receiver
from receiver.channels import registry
from receiver.config.load import load
from tests.fakes import bell_channel
from tests.fakes.bell_channel import Bell
from tests.receiver.channels.test_registry import written
from tests.receiver.web.test_alertmanager import PAYLOAD, encoded

MOST = 3000  # webhooks until the disk must be full
HEADERS = {"Authorization": "Bearer t"}


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110  # the state of others
            await asyncio.sleep(0.02)


async def run(folder: Path) -> dict[str, object]:
    registry.CHANNELS["bell"] = bell_channel.CHANNEL
    person = {"name": "Linh Tran", "contacts": {"bell": "ops"}}
    settings = {"channels": {"bell": {"rooms": {"ops": "4"}, "token": "x" * 16}}, "people": {"linh": person}}
    receiver = Receiver(*load(written(folder, settings)))
    async with aiohttp.ClientSession() as session:
        await receiver.start(session)
        async with TestClient(TestServer(receiver.application())) as client:
            result = await story(folder, receiver, client, *bells(receiver))
    await receiver.stop()
    with closing(sqlite3.connect(folder / "receiver.sqlite3")) as db:
        query = "SELECT count(*) FROM outbox WHERE state IN ('pending', 'sending')"
        return {**result, "unsettled": db.execute(query).fetchone()[0]}


async def story(folder: Path, receiver: Receiver, client: "TestClient", bell: Bell) -> dict[str, object]:  # type: ignore[type-arg]
    async def fire(number: int) -> int:
        alert = {**PAYLOAD["alerts"][0], "fingerprint": f"{number:016x}"}
        async with client.post(
            "/webhook/alertmanager", data=encoded(alerts=[alert], groupKey=str(number)), headers=HEADERS
        ) as answer:
            return answer.status

    async def ready() -> int:
        async with client.get("/-/ready") as answer:
            return answer.status

    stop = asyncio.Event()
    running = asyncio.ensure_future(receiver.run(stop))
    bell.hold.clear()  # what is owed stays owed for now
    taken = 0
    assert await fire(0) == 200
    fill(folder)
    status = 200
    while status == 200 and taken < MOST:
        taken += 1
        status = await fire(taken)
    ready_while_full = await ready()
    async with client.get("/metrics") as answer:
        outage = 'receiver_store_outage{reason="full"} 1.0' in await answer.text()
    bell.hold.set()
    await until(lambda: len(bell.rang) >= taken or running.done())
    rang_while_full = len(bell.rang)
    empty(folder)
    await until(lambda: receiver.store.outage is None or running.done())
    ready_after = await ready()
    assert await fire(MOST + 1) == 200
    await until(lambda: len(bell.rang) > taken)
    stop.set()
    return {
        "refused": status,
        "taken_before": taken,
        "ready_while_full": ready_while_full,
        "outage_while_full": outage,
        "rang_while_full": rang_while_full,
        "ready_after": ready_after,
        "taken": taken + 1,
        "ended_well": await running,
        "rang": len(bell.rang),
    }


def bells(receiver: Receiver) -> list[Bell]:
    dispatchers = receiver._dispatchers.values()  # noqa: SLF001
    return [d._channel for d in dispatchers if isinstance(d._channel, Bell)]  # noqa: SLF001


def fill(folder: Path) -> None:
    """Write until nothing more fits, in smaller and smaller pieces."""
    with (folder / "ballast").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):  # ENOSPC is the aim
                while True:
                    file.write(bytes(size))


def empty(folder: Path) -> None:
    (folder / "ballast").unlink()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Path(sys.argv[1])))))  # noqa: T201
