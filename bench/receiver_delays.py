"""How long a P1 takes from its alert to its channel: beside years of history, and beside addresses that hang or fail.

The store is a real SQLite file (synchronous=FULL), the dispatcher the real one; channels are in this process, so that
only our own delays are measured.
"""

import asyncio
import json
import logging
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.figures import note
from bench.options import is_short
from bench.receiver_process import Site
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.incident.event import AlertsReceived
from receiver.incident.model import Alert, AlertGroup
from receiver.metrics import Metrics
from receiver.oncall.contact_rules import Contact
from receiver.policy.current import Current
from receiver.store.base import Claimed
from receiver.store.sqlite.store import SQLiteStore
from receiver.workers.dispatcher import Dispatcher, RenderBundle
from receiver.workers.retry import RetryPolicy


class Size(NamedTuple):
    """Closed incidents in the file, P1 one by one, P1 at once, and the seconds that an address that hangs takes."""

    history: int
    single: int
    burst: int
    hangs: float


FULL, SHORT = Size(100_000, 100, 310, 2.0), Size(500, 5, 20, 0.2)


class Wire:
    """A channel in this process; ``bad`` incidents go to an address that hangs or fails."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.bad, self.hangs = "", 0.0
        self.changed = asyncio.Condition()

    async def send(self, message: Message) -> Receipt:
        """Take it, or hang or fail for the bad address."""
        if message.address == "bad" and self.bad == "hangs":
            await asyncio.sleep(self.hangs)
            raise SendError("no answer", Failure.TIMEOUT)
        if message.address == "bad" and self.bad == "fails":
            raise SendError("500", Failure.SERVER_ERROR)
        self.arrived[message.subject] = time.perf_counter()
        async with self.changed:
            self.changed.notify_all()
        return Receipt()

    async def until(self, names: set[str]) -> None:
        """Wait until these have arrived."""
        async with self.changed:
            await self.changed.wait_for(lambda: names <= self.arrived.keys())


def as_message(claimed: Claimed) -> Message:
    """Give the least that a message can be."""
    title = claimed.incident.group_labels.get("name", "")
    return Message(
        id=str(claimed.id),
        kind=claimed.notification.kind,
        address=claimed.notification.target.address,
        lane=claimed.notification.target.lane,
        incident=str(claimed.incident.id),
        priority=claimed.priority.value,
        severity="critical",
        subject=title,
        headline=title,
        text=title,
        write_html=str,
        fields=(),
        links=(),
        sent_at=claimed.created_at,
    )


def now() -> datetime:
    """Read the clock."""
    return datetime.now(UTC)  # a benchmark is its own composition root


class Rig:
    """One receiver's store and dispatcher."""

    def __init__(
        self, store: SQLiteStore, current: Current, channel: Channel, bundle: RenderBundle | None = None
    ) -> None:
        self.store, self.current = store, current
        self.dispatcher = Dispatcher(
            "slack",
            channel,
            store,
            current=current,
            retry=RetryPolicy(first=5, longest=120, give_up=1800),
            render=as_message,
            metrics=Metrics(["slack"]),
            clock=now,
            elapsed=time.monotonic,
            jitter=lambda: 0.5,
            bundle=bundle,
        )

    async def fire(self, name: str, team: str = "default", severity: str = "critical") -> float:
        """Store one incident, a P1 by default; gives when it was about to be stored."""
        labels = {"alertname": "Down", "severity": severity, "team": team}
        alert = Alert(name, True, now(), None, labels, {})  # noqa: FBT003  # it fires
        group = AlertGroup(name, (alert,), receiver="receiver", labels={"name": name})
        began = time.perf_counter()
        await self.store.update(AlertsReceived(group), self.current.routing, now())
        self.dispatcher.wake()
        return began


@asynccontextmanager
async def running(folder: Path, history: int) -> AsyncIterator[tuple[Rig, Wire]]:
    """Run a dispatcher over a store with a past."""
    teams = {team: (Contact("slack", team),) for team in ("default", "bad")}
    routing = msgspec.structs.replace(build_routing(*load(Site(folder).config)), teams=teams)
    current = Current(routing, now())
    store = SQLiteStore(folder / "bench.sqlite3", lambda: None)
    await store.open(now())
    wire = Wire()
    rig = Rig(store, current, wire)
    await rig.fire("first")
    loop = asyncio.ensure_future(rig.dispatcher.run())
    await wire.until({"first"})
    fill(folder / "bench.sqlite3", history)
    yield rig, wire
    rig.dispatcher.stop()
    await loop
    await store.close()


def fill(path: Path, count: int) -> None:
    """Write closed incidents with a timeline and sent pages of each."""
    at = now().timestamp() - 86_400
    with sqlite3.connect(path) as db:
        (doc,) = db.execute("SELECT doc FROM incident LIMIT 1").fetchone()
        document = {**json.loads(doc), "state": "resolved"}
        numbers = range(1000, 1000 + count)
        db.executemany(
            "INSERT INTO incident (id, key, state, priority, opened_at, resolved_at, doc) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((n, f"old-{n}", "resolved", "P1", at, at, json.dumps({**document, "id": n}).encode()) for n in numbers),
        )
        db.executemany(
            "INSERT INTO timeline (incident_id, at, kind, text, actor) VALUES (?, ?, 'remark', 'over', '')",
            ((n, at) for n in numbers),
        )
        same = "channel, address, kind, round, serial, priority, notification, created_at, not_before"
        sent = f"""INSERT INTO outbox (incident_id, lane, {same}, state, settled_at)
            SELECT ?, lane, {same}, 'sent', created_at FROM outbox ORDER BY id LIMIT 1"""  # noqa: S608  # our own text
        db.executemany(sent, ((n,) for n in numbers))
    db.close()


async def measure(rig: Rig, wire: Wire, size: Size, label: str) -> None:
    """Print what one P1 takes by itself, and how long many at once take until the last."""
    single: list[float] = []
    for number in range(size.single):
        name = f"{label}-{number}"
        began = await rig.fire(name)
        await wire.until({name})
        single.append(wire.arrived[name] - began)
    names = {f"{label}-burst-{number}" for number in range(size.burst)}
    began = time.perf_counter()
    await asyncio.gather(*(rig.fire(name) for name in names))
    await wire.until(names)
    last = time.perf_counter() - began
    worst = max(single) * 1000
    note(f"{size.burst} P1 at once, until the last is told ({label})", last, "s")
    print(
        f"{label:>28}: P1 {statistics.median(single) * 1000:6.1f} ms median, {worst:7.1f} ms worst; "
        f"{size.burst} at once {last:6.2f} s"
    )


async def beside_a_bad_address(rig: Rig, wire: Wire, size: Size, how: str) -> None:
    """Measure again while another address of the channel hangs or fails."""
    wire.bad, wire.hangs = how, size.hangs
    for number in range(30):
        await rig.fire(f"bad-{how}-{number}", team="bad")
    await measure(rig, wire, size, f"an address {how}")


async def main(*, short: bool) -> None:
    """Run both."""
    size = SHORT if short else FULL
    logging.getLogger("receiver").setLevel(logging.CRITICAL)  # the failures are meant
    for history in (0, size.history):
        with tempfile.TemporaryDirectory() as folder:
            async with running(Path(folder), history) as (rig, wire):
                await measure(rig, wire, size, f"{history} closed incidents")
    for how in ("hangs", "fails"):
        with tempfile.TemporaryDirectory() as folder:
            async with running(Path(folder), 0) as (rig, wire):
                await beside_a_bad_address(rig, wire, size, how)


if __name__ == "__main__":
    asyncio.run(main(short=is_short(__doc__)))
