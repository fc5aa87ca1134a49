"""CloudEvents 1.0 over HTTP: structured, batched and binary, counted once by source and id."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.exporter.example_exporter import TOKEN, Client, Time, a_config, an_application, an_exporter, value

EVENT = {
    "specversion": "1.0",
    "id": "7",
    "source": "/bookings",
    "type": "class_booked",
    "time": "2026-09-21T14:13:20Z",
    "datacontenttype": "application/json",
    "subject": "ignored",
    "data": {"class_type": "group", "channel": "web"},
}
BINARY = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/bookings", "ce-type": "class_booked"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    exporter = an_exporter(Time(), a_config(first_increment_hold=0))
    async with TestClient(TestServer(an_application(exporter))) as client:
        yield client


async def send(client: Client, body: object, kind: str, **headers: str) -> tuple[int, dict[str, object]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {**TOKEN, "Content-Type": kind, **headers}
    answer = await client.post("/api/events", data=data, headers=sent)
    return answer.status, await answer.json()


async def booked(client: Client) -> float | None:
    return await value(client, "class_bookings_total", class_type="group", channel="web")


async def test_the_same_event_in_three_modes_is_one(client: Client) -> None:
    assert (await send(client, EVENT, "application/cloudevents+json"))[1]["accepted"] == 1
    assert (await send(client, [EVENT, EVENT], "application/cloudevents-batch+json"))[1]["duplicates"] == 2
    assert (await send(client, EVENT["data"], "application/json", **BINARY))[1]["duplicates"] == 1
    assert await booked(client) == 1
    other = {**BINARY, "ce-source": "/other%20place"}
    assert (await send(client, EVENT["data"], "application/json", **other))[1]["accepted"] == 1
    assert (await send(client, {**EVENT, "source": "/other place"}, "application/json"))[1]["duplicates"] == 1
    assert await booked(client) == 2


async def test_a_binary_event_may_have_no_data(client: Client) -> None:
    headers = {
        **BINARY,
        "ce-type": "audit_entry",
        "ce-traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    assert (await send(client, b"", "application/json", **headers))[1]["accepted"] == 1
    assert await value(client, "audit_log_entries_total") == 1


@pytest.mark.parametrize(
    ("body", "kind", "headers", "field"),
    [
        (EVENT["data"], "application/json", {**BINARY, "ce-specversion": "0.3"}, "ce-specversion"),
        (EVENT["data"], "application/json", {**BINARY, "ce-id": ""}, "ce-id"),
        (EVENT["data"], "application/json", {**BINARY, "ce-type": ""}, "ce-type"),
        (EVENT["data"], "text/csv", BINARY, "content-type"),
        (b"{", "application/json", BINARY, "data"),
        ({**EVENT, "specversion": "2.0"}, "application/cloudevents+json", {}, "specversion"),
        ({"type": "class_booked"}, "application/cloudevents+json", {}, ""),
        (b"{", "application/cloudevents+json", {}, ""),
    ],
)
async def test_what_is_no_cloudevent_is_named(
    client: Client, body: object, kind: str, headers: dict[str, str], field: str
) -> None:
    status, answer = await send(client, body, kind, **headers)
    assert (status, answer["field"]) == (400, field)
    assert await booked(client) == 0
