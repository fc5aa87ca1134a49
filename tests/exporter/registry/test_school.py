"""The school of the demo and of the live stories: every family has a value from its first beat, and nothing is odd."""

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from deploy.simulation.school import School
from tests.exporter.example_exporter import (
    BROWSER,
    TOKEN,
    Client,
    Time,
    a_config,
    an_application,
    an_exporter,
    the_example,
)

# What a school in good health has none of.
NONE = {"security_suspicious_events_total": "nothing suspicious happens"}


async def live(client: Client, time: Time, beats: int) -> None:
    """Let the school live for so many half seconds, and its web vitals settle."""
    school = School()
    batches = [school.morning(), *(school.beat(number / 240 % 1, time.now + number / 2) for number in range(beats))]
    for events in batches:
        answer = await client.post("/api/events", json=events, headers=TOKEN)
        assert (answer.status, (await answer.json())["rejected"]) == (202, [])
    for _ in range(2 * beats):
        time.now += 0.25
        answer = await client.post("/api/pulse", json=school.visit(time.now), headers=BROWSER)
        assert answer.status == 204


async def samples(client: Client) -> dict[str, list[tuple[dict[str, str], float]]]:
    text = await (await client.get("/metrics")).text()
    by_name: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            by_name.setdefault(sample.name, []).append((dict(sample.labels), float(sample.value)))
    return by_name


async def test_every_family_that_an_event_feeds_has_a_value_after_one_beat_and_no_label_is_unknown() -> None:
    time = Time()
    exporter = an_exporter(time, a_config(first_increment_hold=0))
    async with TestClient(TestServer(an_application(exporter))) as client:
        await live(client, time, 1)
        time.now += 31  # longer than a web vital is held
        exporter.tick()
        exporter.parts.state.recorder.refresh(time.now)
        exposed = await samples(client)
    families = [family for family in the_example()[1].families if family.event != "self"]
    names = {f.name: f.name + ("_count" if f.type == "histogram" else "") for f in families}
    empty = {name for name, sample in names.items() if not any(value for _, value in exposed.get(sample, []))}
    assert empty == set(NONE)
    counted = [(name, labels) for name in names.values() for labels, value in exposed.get(name, []) if value]
    assert [(name, label) for name, labels in counted for label, value in labels.items() if value == "other"] == []


async def test_a_broken_deploy_breaks_most_bookings_and_nothing_else() -> None:
    school = School()
    school.broken = True
    requests = [e["data"] for n in range(200) for e in school.beat(0.5, n) if e["type"] == "http_request"]
    bookings = [r["status"] == 500 for r in requests if r["route"] == "/api/bookings"]
    assert 0.7 < sum(bookings) / len(bookings) < 0.9
    assert not [r for r in requests if r["route"] != "/api/bookings" and r["status"] == 500]
