"""The exporter's own clock is ahead for a while, and is set right again: nothing is stuck until it gets there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from exporter.app import Clock, Exporter, Settings
from process.settings import Secret
from tests.exporter.example_exporter import BROWSER, TOKEN, Client, Time, a_config, an_application, the_example, value

_DAYS = 3 * 86_400.0


class Place:
    """An exporter whose clock is set by hand."""

    def __init__(self, time: Time, exporter: Exporter, client: Client) -> None:
        self.time, self.exporter, self.client = time, exporter, client

    async def send(self, *events: dict[str, Any]) -> None:
        answer = await self.client.post("/api/events", json={"events": events}, headers=TOKEN)
        assert answer.status == 202

    async def browse(self, session: str, sequence: int = 0, *events: dict[str, Any]) -> None:
        client = {"session": session, "page_id": f"page of {session}", "sequence": sequence}
        answer = await self.client.post("/api/pulse", json={"client": client, "events": events}, headers=BROWSER)
        assert answer.status == 204

    async def pass_time(self, seconds: float) -> None:
        self.time.now += seconds
        self.exporter.tick()
        self.exporter.parts.state.recorder.refresh(self.time.now)

    async def read(self, name: str, **labels: str) -> float | None:
        return await value(self.client, name, **labels)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    time = Time()
    settings = Settings(a_config(), the_example()[1], Secret("exporter-token"))
    exporter = Exporter(settings, Clock(time, Time()))  # the monotonic clock does not go back
    client = TestClient(TestServer(an_application(exporter)))
    await client.start_server()
    yield Place(time, exporter, client)
    await client.close()


def seats(booked: int) -> dict[str, Any]:
    return {"type": "class_seats", "data": {"class_type": "group", "booked": booked, "capacity": 100}}


def user(name: str) -> dict[str, Any]:
    return {"type": "user_active", "data": {"user": name}}


VIEW = {"type": "page_load", "data": {"page": "/", "total": 1}}


@pytest.mark.parametrize("ahead", [1.0, 3600.0, _DAYS])
async def test_a_gauge_is_not_kept_from_the_future(place: Place, ahead: float) -> None:
    place.time.now += ahead
    await place.send(seats(1))
    place.time.now -= ahead
    await place.send(seats(2))
    assert await place.read("class_seats_booked", class_type="group") == 2
    past = {**seats(3), "time": place.time.now - 1}
    await place.send(past)  # still older than what is known
    assert await place.read("class_seats_booked", class_type="group") == 2


async def test_users_are_counted_who_come_later(place: Place) -> None:
    place.time.now += _DAYS
    for _ in range(8):
        await place.send(user("early"))
        await place.pass_time(60)
    place.time.now -= _DAYS
    await place.send(user("late"), user("later"))
    await place.pass_time(1)
    assert await place.read("active_users", window="5m") == 2


async def test_sessions_and_vitals_end(place: Place) -> None:
    vital = {"type": "web_vital", "id": "v", "data": {"vital": "LCP", "page": "/", "rating": "good", "seconds": 1.0}}
    place.time.now += _DAYS
    await place.browse("ahead", 3, vital)
    place.time.now -= _DAYS
    await place.browse("behind", 0, VIEW)
    assert await place.read("rum_active_sessions") == 1
    await place.pass_time(2000)
    assert await place.read("exporter_vitals_held") == 0
    assert await place.read("rum_active_sessions") == 0
    assert await place.read("rum_beacons_lost_total") == 3
    assert await place.read("rum_session_duration_seconds_count") == 2


async def test_no_session_lasts_less_than_nothing(place: Place) -> None:
    await place.browse("both", 0, VIEW)
    place.time.now -= 1200
    await place.browse("both", 1, VIEW)
    await place.pass_time(2000)
    assert await place.read("rum_session_duration_seconds_count") == 1
    assert await place.read("rum_session_duration_seconds_sum") == 0


async def test_a_new_series_is_shown(place: Place) -> None:
    booked = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}
    slow = {"type": "db_query", "data": {"operation": "select", "table": "users", "duration": 0.7}}
    place.time.now += _DAYS
    await place.send(booked, slow)
    held = [series for series in place.exporter.parts.state.recorder.series.values() if series.held]
    assert held
    await place.client.get("/metrics")
    place.time.now -= _DAYS
    await place.client.get("/metrics")
    assert not [series.family.name for series in held if series.held]
