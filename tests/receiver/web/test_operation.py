"""Reload, retention, the outside heartbeat, the cover of roles, an upgrade of the file, and many changes at once."""

import asyncio
import gzip
import json
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from process.settings import Secret, SettingsError
from receiver.config.build import build_routing
from receiver.config.load import load
from receiver.config.reload import Reloader
from receiver.incident.event import AlertsReceived, Resolve
from receiver.incident.model import Incident, Origin, Priority, State
from receiver.metrics import Metrics
from receiver.policy.current import Current
from receiver.policy.routing import Routing
from receiver.store.base import StoreError
from receiver.store.sql.store import SQLStore
from receiver.web.admin import Admin
from receiver.workers.heartbeat import Heartbeat
from receiver.workers.retention import Retention
from tests.receiver.channels.test_registry import written
from tests.receiver.config.test_config import edited
from tests.receiver.example_site import (
    P1,
    START,
    Clock,
    a_store,
    a_watch,
    an_alert,
    beside,
    deciding,
    of_group,
    received,
    the_policy,
    the_routing,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLStore]:
    opened = await a_store(tmp_path, clock)
    yield opened
    await opened.close()


class Reload:
    def __init__(self, folder: Path) -> None:
        self.path = edited(folder, "catch_up_dwell: 5m", "catch_up_dwell: 5m")
        config, source = load(self.path)
        self.current = Current(build_routing(config, source), START)
        self.metrics = Metrics([])
        self.reloader = Reloader(self.path, source, self.current, self.metrics.config_reloaded)

    def change(self, old: str, new: str) -> None:
        text = self.path.read_text("utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new, 1), "utf-8")

    @property
    def successful(self) -> float | None:
        return self.metrics.registry.get_sample_value("receiver_config_last_reload_successful")


def test_a_changed_file_is_taken_whole(tmp_path: Path) -> None:
    rig = Reload(tmp_path)
    rig.change("catch_up_dwell: 5m", "catch_up_dwell: 7m")
    rig.reloader.reload()
    assert rig.current.routing.dwell == 420.0
    assert rig.successful == 1


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("catch_up_dwell: 5m", "catch_up_dwell: soon", "invalid duration"),
        ("cto: [peter]", "cto: [petra]", "roles.cto: unknown"),
        ("port: 587", "port: 25", "cannot change while the receiver runs; restart it"),
    ],
)
def test_a_bad_file_is_refused_and_changes_nothing(tmp_path: Path, old: str, new: str, says: str) -> None:
    rig = Reload(tmp_path)
    before = rig.current.routing
    rig.change(old, new)
    with pytest.raises(SettingsError, match=r"receiver\.yml") as caught:
        rig.reloader.reload()
    assert says in str(caught.value)
    assert rig.current.routing is before
    assert rig.successful == 0


def test_a_pipe_in_the_place_of_the_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    rig = Reload(tmp_path)
    rig.path.unlink()
    os.mkfifo(rig.path)
    with pytest.raises(SettingsError, match="a pipe is read once"):
        rig.reloader.reload()
    assert rig.successful == 0


async def test_an_open_incident_keeps_the_plan_that_it_opened_with(tmp_path: Path, store: SQLStore) -> None:
    rig = Reload(tmp_path)
    await store.update(received(an_alert()), the_policy(), START)
    (before,) = await store.incidents(None, 1)
    rig.change("{after: 15m,", "{after: 20m,")
    rig.reloader.reload()
    assert rig.current.routing.plan(P1, "backend").steps[1].after == 1200.0
    (after,) = await store.incidents(None, 1)
    assert after.plan == before.plan


@pytest.fixture
async def client(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> AsyncIterator[tuple[TestClient[web.Request, web.Application], Reload]]:
    rig = Reload(tmp_path)
    token = Secret("api-token")
    watch = a_watch(store, clock, rig.current)
    operation = Admin(
        store,
        rig.current,
        rig.metrics,
        clock,
        ready=lambda: True,
        token=token,
        reloader=rig.reloader,
        look=watch.look,
    )
    app = web.Application()
    app.add_routes(operation.routes())
    async with TestClient(TestServer(app)) as opened:
        yield opened, rig


async def test_reload_by_http(client: tuple[TestClient[web.Request, web.Application], Reload]) -> None:
    http, rig = client
    headers = {"Authorization": "Bearer api-token"}
    async with http.post("/-/reload") as answer:
        assert answer.status == 401
    async with http.post("/-/reload", headers=headers) as answer:
        assert answer.status == 200
    rig.change("cto: [peter]", "cto: []")
    async with http.post("/-/reload", headers=headers) as answer:
        assert answer.status == 400
        assert "roles.cto" in await answer.text()


async def test_a_reload_names_the_secrets_that_only_a_restart_reads(
    client: tuple[TestClient[web.Request, web.Application], Reload], caplog: pytest.LogCaptureFixture
) -> None:
    http, rig = client
    said = list[str]()
    key, token = (rig.path.parent / "secrets" / name for name in ("pagerduty-leads", "api-token"))
    for change in ([], [token, key], [token]):
        for file in change:
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{file.name} {len(said)}", "utf-8")
        async with http.post("/-/reload", headers={"Authorization": "Bearer api-token"}) as answer:
            assert answer.status == 200
            said.append(await answer.text())
        key.unlink(missing_ok=True)
    leads = "channels.pagerduty.services.leads.routing_key_file"
    assert said == [
        "Config reloaded.\n",
        f"Config reloaded. Restart for the new contents of api.token_file, {leads}.\n",
        "Config reloaded. Restart for the new contents of api.token_file.\n",
    ]
    assert f"contents of api.token_file, {leads}" in caplog.text
    assert rig.successful == 1


def test_the_password_of_the_database_needs_no_restart(tmp_path: Path) -> None:
    url = "url: postgresql://db/heypeter, password_file: db"
    path = edited(tmp_path, "database: ", f"postgres: {{{url}}}\n# ")
    config, source = load(path)
    reloader = Reloader(path, source, Current(build_routing(config, source), START), lambda _: None)
    (tmp_path / "db").write_text("new", "utf-8")
    reloader.reload()
    assert reloader.stale == []


def test_receivers_are_compared_by_their_file_and_secrets_but_not_by_what_each_has_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "link"
    secret.write_text("s" * 32, "utf-8")
    keys = {"links": {"secret_file": str(secret)}, "listen": "127.0.0.1:9095"}

    def digest(**changed: object) -> str:
        config, source = load(written(tmp_path, {**keys, **changed}))
        return Reloader(source.path, source, Current(build_routing(config, source), START), lambda _: None).digest

    same = digest()
    assert digest(listen="127.0.0.1:9096", state_dir=str(tmp_path)) == same
    assert digest(roles={"engineer": ["linh"], "tech-lead": ["linh"]}) != same
    secret.write_text("t" * 32, "utf-8")
    assert digest() != same


async def test_who_covers_each_role_is_a_metric(
    client: tuple[TestClient[web.Request, web.Application], Reload],
) -> None:
    http, rig = client
    async with http.get("/metrics") as answer:
        text = await answer.text()
    assert 'receiver_oncall_covered{role="cto"} 1.0' in text
    assert 'receiver_oncall_info{person="linh",role="on-call-engineer"} 1.0' in text
    rig.change("{name: Linh Tran, ", "{name: Linh Tran, vacation: [{from: 2026-11-20, to: 2026-11-30}], ")
    rig.reloader.reload()
    async with http.get("/metrics") as answer:
        text = await answer.text()
    assert 'receiver_oncall_covered{role="on-call-engineer"} 0.0' in text
    assert 'person="linh"' not in text


async def fill(store: SQLStore, clock: Clock, count: int) -> None:
    for number in range(count):
        group = of_group(received(an_alert(str(number))), f"g{number}")
        incident = await store.update(AlertsReceived(group), the_policy(), clock.now)
        assert incident is not None
        await store.apply(incident.id, deciding(Resolve("Linh", Origin.LINK), clock.now), clock.now)


async def test_what_was_over_long_ago_is_archived_and_gone(tmp_path: Path, store: SQLStore, clock: Clock) -> None:
    await fill(store, clock, 5)
    clock.forward(days=300)
    await fill(store, clock, 2)
    group = of_group(received(an_alert("open")), "open")
    await store.update(AlertsReceived(group), the_policy(), clock.now)
    clock.forward(days=80)
    archive = tmp_path / "archive"
    assert await Retention(store, clock, timedelta(days=365), archive).run_once() == 5
    lines = gzip.decompress((archive / "incidents-2026-11.jsonl.gz").read_bytes()).splitlines()
    records = [json.loads(line) for line in lines]
    assert sorted(record["incident"]["id"] for record in records) == [1, 2, 3, 4, 5]
    assert records[0]["timeline"][0]["kind"] == "opened"
    assert [i.id for i in await store.incidents(None, 10)] == [8, 7, 6]
    with beside(tmp_path) as other:
        assert other.execute("SELECT count(*) FROM outbox WHERE incident_id < 6").fetchone() == (0,)
        assert other.execute("SELECT count(*) FROM timeline WHERE incident_id < 6").fetchone() == (0,)
        assert other.execute("SELECT count(*) FROM member WHERE incident_id < 6").fetchone() == (0,)
    assert await Retention(store, clock, timedelta(days=365), archive).run_once() == 0


async def test_when_the_archive_cannot_be_written_nothing_is_deleted(
    tmp_path: Path, store: SQLStore, clock: Clock
) -> None:
    await fill(store, clock, 2)
    clock.forward(days=400)
    (tmp_path / "archive").write_text("a file where a folder should be", "utf-8")
    with pytest.raises(FileExistsError):
        await Retention(store, clock, timedelta(days=365), tmp_path / "archive").run_once()
    assert len(await store.incidents(None, 10)) == 2


async def test_a_number_is_never_given_twice(store: SQLStore, clock: Clock) -> None:
    await fill(store, clock, 3)
    clock.forward(days=400)
    await Retention(store, clock, timedelta(days=365), None).run_once()
    await fill(store, clock, 1)
    assert [i.id for i in await store.incidents(None, 10)] == [4, 3]


async def test_the_outside_heartbeat_beats_only_while_we_are_alive(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    alive = True

    async def beat(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.Response(status=500 if "fail" in request.path else 200)

    app = web.Application()
    app.router.add_get("/{any:.*}", beat)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        url = Secret(str(server.make_url("/secret-uuid")))
        heartbeat = Heartbeat(url, session, lambda: alive, private_redirects=False)
        assert await heartbeat.run_once()
        alive = False
        assert not await heartbeat.run_once()
        assert heard == ["/secret-uuid"]
        with caplog.at_level(logging.DEBUG):
            failing = Heartbeat(
                Secret(str(server.make_url("/fail-uuid"))), session, lambda: True, private_redirects=False
            )
            assert not await failing.run_once()
            assert not await Heartbeat(
                Secret("http://127.0.0.1:1/gone-uuid"), session, lambda: True, private_redirects=False
            ).run_once()
    assert "uuid" not in caplog.text
    assert "heartbeat failed" in caplog.text


async def test_many_changes_share_a_commit_and_one_that_fails_takes_nobody_with_it(
    store: SQLStore, clock: Clock
) -> None:
    class Broken(Routing, frozen=True):
        def ruling(self, labels: dict[str, str]) -> NoReturn:
            raise ZeroDivisionError(labels)

    async def one(number: int) -> Incident | None:
        group = of_group(received(an_alert(str(number))), f"g{number}")
        fields = msgspec.structs.asdict(the_policy())
        policy = Broken(**fields) if number == 50 else the_policy()
        return await store.update(AlertsReceived(group), policy, clock.now)

    outcomes = await asyncio.gather(*(one(number) for number in range(100)), return_exceptions=True)
    assert [type(f).__name__ for f in outcomes].count("ZeroDivisionError") == 1
    assert isinstance(outcomes[50], ZeroDivisionError)
    incidents = await store.incidents(None, 200)
    assert len(incidents) == 99
    assert len({incident.id for incident in incidents}) == 99


async def test_after_the_end_nothing_is_said_to_be_stored(tmp_path: Path, clock: Clock) -> None:
    store = await a_store(tmp_path, clock)
    await store.close()
    with pytest.raises((StoreError, RuntimeError)):
        await store.alive(clock.now)


OLD = """
CREATE TABLE incident (id INTEGER PRIMARY KEY, key TEXT NOT NULL, state TEXT NOT NULL, priority TEXT NOT NULL,
    opened_at REAL NOT NULL, next_due_at REAL, resolved_at REAL, doc BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX incident_open ON incident (key) WHERE state <> 'resolved';
CREATE TABLE timeline (incident_id INTEGER NOT NULL REFERENCES incident (id), seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, actor TEXT NOT NULL) STRICT;
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, incident_id INTEGER NOT NULL REFERENCES incident (id),
    lane TEXT NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL, round INTEGER NOT NULL, notification BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', created_at REAL NOT NULL, not_before REAL NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, lease_until REAL, settled_at REAL, ref TEXT NOT NULL DEFAULT '',
    last_error TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE heartbeat (source TEXT PRIMARY KEY, last_seen_at REAL NOT NULL) STRICT;
PRAGMA user_version = 1;
"""


@pytest.mark.sqlite("an older schema of its file")
async def test_the_file_of_the_first_release_is_moved_to_todays_tables(tmp_path: Path, clock: Clock) -> None:
    at = START.timestamp()
    document = {
        "id": 7,
        "key": "receiver|g",
        "state": "triggered",
        "priority": "P1",
        "title": "Old",
        "team": "backend",
        "opened_at": START.isoformat(),
        "steps": [{"after": 0.0, "roles": ["on-call-engineer"]}, {"after": 900.0, "roles": ["tech-lead"]}],
        "response_time": 900.0,
        "clock_started_at": START.isoformat(),
        "next_step": 1,
        "next_due_at": (START + timedelta(minutes=15)).isoformat(),
        "rounds": 1,
    }
    target = {"channel": "email", "address": "linh@example.com", "lane": "l", "person": "Linh", "role": "r"}
    page = {"kind": "page", "target": target, "round": 1, "roles": ["on-call-engineer"]}
    with closing(sqlite3.connect(tmp_path / "receiver.sqlite3")) as db, db:
        db.executescript(OLD)
        row = (7, "receiver|g", "triggered", "P1", at, at + 900, None, json.dumps(document).encode())
        db.execute("INSERT INTO incident VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT INTO timeline VALUES (7, 3, ?, 'opened', 'it opened', '')", (at,))
        query = """INSERT INTO outbox (incident_id, lane, channel, kind, round, notification, created_at, not_before)
            VALUES (7, 'l', 'email', 'page', 1, ?, ?, ?)"""
        db.execute(query, (json.dumps(page).encode(), at, at))
        db.execute("INSERT INTO heartbeat VALUES ('alertmanager', ?)", (at,))
    store = await a_store(tmp_path, clock)
    stored = await store.incident(7)
    assert stored is not None
    assert (stored[0].state, stored[0].priority, stored[0].next_step) == (State.TRIGGERED, Priority.P1, 1)
    assert [entry.text for entry in stored[1]] == ["it opened"]
    assert await store.due(START + timedelta(minutes=15)) == [7]
    (claimed,) = await store.claim("email", clock.now, 60, 10)
    assert claimed.notification.target.address == "linh@example.com"
    await store.close()
    again = await a_store(tmp_path, clock)  # and it is not moved twice
    assert len(await again.incidents(None, 10)) == 1
    await again.close()


async def test_a_policy_that_vanished_is_no_reason_to_fail(clock: Clock) -> None:
    assert the_routing().opens("hours that were removed", clock.now) == clock.now
