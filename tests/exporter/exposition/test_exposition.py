"""GET /metrics: what prometheus_client would write, byte for byte, in each format, whole or in part, in good time."""

import asyncio
import gzip
import subprocess
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from exporter.app import Exporter
from exporter.events.decode import Schema
from exporter.exposition.negotiate import PLAIN, Exposition, Format, accepts, budget, negotiate
from exporter.exposition.text import is_sound, number
from exporter.registry.recorder import Recorder
from exporter.registry.series import Series
from tests.exporter.example_exporter import (
    TOKEN,
    Client,
    Time,
    a_config,
    an_application,
    an_exporter,
    the_example,
    value,
)

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)  # what Prometheus 3.5 sends
OPEN = Format(open_metrics=True, content_type="")


class Reference(Collector):
    """The same series as prometheus_client's own objects."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._series = series

    def collect(self) -> Iterable[Metric]:
        for one in self._series:
            yield {"counter": self._counter, "gauge": self._gauge, "histogram": self._histogram}[one.family.type](one)

    def _counter(self, one: Series) -> Metric:
        metric = CounterMetricFamily(one.family.name, one.family.help, labels=_names(one))
        for labels, cell in one.cells.items():
            metric.add_metric(labels, cell.value / one.family.divisor)
        return metric

    def _gauge(self, one: Series) -> Metric:
        metric = GaugeMetricFamily(one.family.name, one.family.help, labels=_names(one))
        for labels, cell in one.cells.items():
            metric.add_metric(labels, cell.value)
        return metric

    def _histogram(self, one: Series) -> Metric:
        metric = HistogramMetricFamily(one.family.name, one.family.help, labels=_names(one))
        bounds = [*one.family.buckets, float("inf")]
        for labels, cell in one.cells.items():
            buckets: list[Any] = []
            for index, (bound, count) in enumerate(zip(bounds, accumulate(cell.counts), strict=True)):
                le = floatToGoString(bound)  # type: ignore[no-untyped-call]
                exemplar = (cell.exemplars or {}).get(index)
                if exemplar is not None:
                    trace, number, at = exemplar
                    exemplar = Exemplar({"trace_id": trace}, number / one.family.divisor, at)
                buckets.append((le, count, exemplar))
            metric.add_metric(labels, buckets, cell.sum / one.family.divisor)
        return metric


def _names(one: Series) -> list[str]:
    return [label.name for label in one.family.labels]


class Plain(Reference):
    """prometheus_client's text format refuses to leave exemplars out by itself."""

    def collect(self) -> Iterable[Metric]:
        for metric in super().collect():
            metric.samples = [sample._replace(exemplar=None) for sample in metric.samples]
            yield metric


NAMES = ["http_requests_total", "http_request_duration_seconds", "payment_revenue_eur_total", "payment_amount_eur"]
_value = st.one_of(
    st.integers(0, 10**15), st.floats(0, 1e15, allow_subnormal=False), st.sampled_from([0, 999999, 1e6, 1e-5])
)
_label = st.text(max_size=8).filter(is_sound) | st.sampled_from(["\\", '"', "\n", "%s", "%", "{}", "ü"])
_cells = st.lists(
    st.tuples(st.sampled_from(NAMES), _label, _label, st.lists(_value, min_size=4, max_size=4)), max_size=12
)


def _filled(cells: list[tuple[str, str, str, list[float]]]) -> Recorder:
    catalogue = the_example()[1]
    recorder = Recorder(catalogue, Schema(catalogue), b"key")
    for name, first, second, values in cells:
        series = recorder.series[name]
        labels = ((first, second, first) * 1)[: len(series.family.labels)]
        cell = series.cell(labels)
        if series.family.type == "counter":
            cell.value = values[0]
        else:
            cell.counts[: len(values)] = [int(value) for value in values]
            cell.sum = values[1]
            cell.exemplars = {1: (first + "trace", 0.01, 1.5)}
    return recorder


@given(_cells)
def test_it_is_what_prometheus_client_would_write(cells: list[tuple[str, str, str, list[float]]]) -> None:
    recorder = _filled(cells)
    exposition = Exposition(recorder, CollectorRegistry(), 30, lambda: 1.0)
    series = [one for one in recorder.series.values() if one.family.type != "gauge"]
    wanted = [one.family.name for one in series]
    for form, reference, write in (
        (PLAIN, Plain(series), generate_latest),
        (OPEN, Reference(series), generate_openmetrics),
    ):
        registry = CollectorRegistry()
        registry.register(reference)
        body = asyncio.run(exposition.render(form, wanted, gzip=False, process=False))
        assert body == write(registry)
        assert gzip.decompress(asyncio.run(exposition.render(form, wanted, gzip=True, process=False))) == body


@given(_value)
def test_numbers_are_written_as_go_writes_them(given_number: float) -> None:
    assert number(given_number) == floatToGoString(given_number)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,application/xhtml+xml", "text/plain; version=0.0.4; charset=utf-8"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=0.0.1,*/*;q=0.1",
            "application/openmetrics-text; version=0.0.1; charset=utf-8",
        ),
        # What is liked best wins, wherever it stands.
        (
            "application/openmetrics-text;version=1.0.0;q=0.3,text/plain;version=0.0.4",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.5", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0;escaping=values", "text/plain; version=1.0.0; charset=utf-8; escaping=values"),
        ("application/openmetrics-text;version=9;q=1,text/plain;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=x,text/plain;q=0", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily,text/plain;q=0.2",
            "text/plain; version=0.0.4; charset=utf-8",
        ),
    ],
)
def test_the_format_is_what_was_asked_for(accept: str, content_type: str) -> None:
    assert negotiate(accept).content_type == content_type


@given(st.text(max_size=80))
def test_no_accept_header_is_too_strange(accept: str) -> None:
    negotiate(accept)
    assert 0 < budget(accept) <= 60


def test_the_time_that_a_scrape_has() -> None:
    assert (budget("10"), budget(""), budget("0.2"), budget("nan")) == (9.5, 9.5, 0.1, 9.5)


@pytest.fixture
async def rig() -> AsyncIterator[tuple[Client, Exporter, Time]]:
    time = Time()
    exporter = an_exporter(time, a_config(first_increment_hold=30))
    async with TestClient(TestServer(an_application(exporter))) as client:
        yield client, exporter, time


def request(**more: object) -> dict[str, object]:
    data = {"method": "GET", "route": "/", "status": 200, "duration": 0.25}
    return {"type": "http_request", "data": data, **more}


async def test_exemplars_lead_from_a_bucket_to_a_trace(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await client.post("/api/events", json=[request(trace_id=trace)], headers=TOKEN)
    slow = {"method": "GET", "route": "/", "status": 200, "duration": 2.5}
    await client.post("/api/events", json=[request(traceparent=parent, data=slow)], headers=TOKEN)
    await client.get("/metrics")
    time.now += 31
    text = await (await client.get("/metrics", headers={"Accept": PROMETHEUS})).text()
    assert f' # {{trace_id="{trace}"}} 0.25 ' in text
    families = {family.name: family for family in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    traces = {s.exemplar.labels["trace_id"] for s in families["http_request_duration_seconds"].samples if s.exemplar}
    assert traces == {trace, parent[3:35]}
    assert trace not in await (await client.get("/metrics")).text()


async def test_a_new_series_is_shown_as_0_first_by_time_and_not_by_scrapes(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    await client.post("/api/events", json=[request()] * 7, headers=TOKEN)
    labels = {"method": "GET", "route": "/"}
    time.now += 100  # nobody scrapes for a while: the hold begins with the first who sees it
    for _ in range(3):
        assert await value(client, "http_requests_total", **labels, status="200") == 0
        assert await value(client, "http_request_duration_seconds_count", **labels) == 0
        assert await value(client, "http_request_duration_seconds_bucket", **labels, le="+Inf") == 0
        time.now += 9
    time.now += 4
    assert await value(client, "http_requests_total", **labels, status="200") == 7
    assert await value(client, "http_request_duration_seconds_sum", **labels) == 1.75
    # What is known from the start needs no hold.
    await client.post("/api/events", json={"type": "payment_attempted", "data": {"provider": "stripe"}}, headers=TOKEN)
    assert await value(client, "payment_attempts_total", provider="stripe") == 1


async def test_only_the_families_that_were_asked_for(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, _ = rig
    text = await (await client.get("/metrics?name[]=audit_log_entries_total&name[]=exporter_build_info")).text()
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "audit_log_entries_total 0.0",
        'exporter_build_info{version="0.1.0"} 1.0',
    ]
    accept = {"Accept": PROMETHEUS}
    text = await (await client.get("/metrics?name[]=rum_session_duration_seconds_bucket", headers=accept)).text()
    assert "rum_session_duration_seconds_count" in text
    assert "audit_log" not in text
    assert text.endswith("# EOF\n")


async def test_gauges_say_nothing_when_nobody_has_set_them_lately(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    seats = {"type": "class_seats", "data": {"class_type": "group", "booked": 5, "capacity": 8}}
    old = {**seats, "data": {**seats["data"], "booked": 1}, "time": time.now - 60}  # type: ignore[dict-item]
    assert await value(client, "class_seats_booked", class_type="group") is None
    assert await value(client, "deployment_last_timestamp_seconds") is None
    await client.post("/api/events", json=[seats], headers=TOKEN)
    await client.post("/api/events", json=[old], headers=TOKEN)  # late, and no longer true
    assert await value(client, "class_seats_booked", class_type="group") == 5
    time.now += 3601
    assert await value(client, "class_seats_booked", class_type="group") is None
    done = {"type": "backup_finished", "time": time.now - 5, "data": {"database": "heypeter"}}
    failed = {"type": "backup_finished", "data": {"database": "heypeter", "outcome": "failure"}}
    await client.post("/api/events", json=[done, failed], headers=TOKEN)
    assert await value(client, "backup_last_success_timestamp_seconds", database="heypeter") == time.now - 5
    at = {
        "type": "tickets_counted",
        "data": {"priority": "high", "open": 3, "oldest_unanswered": "2026-09-20T00:00:00Z"},
    }
    assert (await client.post("/api/events", json=[at], headers=TOKEN)).status == 202
    name = "support_oldest_unanswered_ticket_timestamp_seconds"
    assert await value(client, name, ticket_priority="high") == 1_789_862_400


async def test_the_exporter_says_what_it_is_and_how_it_fares(rig: tuple[Client, Exporter, Time]) -> None:
    client, exporter, _ = rig
    await client.get("/metrics")
    exporter.parts.metrics.lag(0.002)
    assert await value(client, "exporter_build_info", version="0.1.0") == 1
    assert await value(client, "exporter_render_duration_seconds_count") == 2
    assert await value(client, "exporter_event_loop_lag_seconds_count") == 1
    assert await value(client, "exporter_collector_success", collector="journal") == 1
    assert await value(client, "exporter_series_limit", family="http_requests_total") == 2001
    text = await (await client.get("/metrics")).text()
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


@pytest.mark.stack
async def test_promtool_has_nothing_to_say_about_a_page_with_every_family(rig: tuple[Client, Exporter, Time]) -> None:
    client, exporter, time = rig
    for series in exporter.parts.state.recorder.series.values():
        labels = tuple(label.values[0] if label.values else "other" for label in series.family.labels)
        cell = series.cell(labels)
        if series.family.type == "gauge":
            cell.set(1.0, time.now, time.now)
    page = await (await client.get("/metrics")).read()
    assert page.count(b"# TYPE") > len(exporter.parts.state.recorder.series)
    command = [".stack/bin/promtool", "check", "metrics"]
    done = subprocess.run(command, input=page, capture_output=True, check=False)  # noqa: ASYNC221  # nothing else runs
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"")


@pytest.mark.parametrize(
    ("header", "gzip", "brotli"),
    [
        ("gzip", True, False),
        ("gzip, deflate;q=0.5, br", True, True),
        ("GZIP", True, False),
        ("x-gzip", True, False),
        ("*", True, True),
        ("gzip;q=0.001", True, False),
        ("br, *;q=0.1", True, True),
        ("br;q=0, *", True, False),
        ("gzip;q=0.0, *", False, True),
        ("", False, False),
        ("identity", False, False),
        ("identity;q=0", False, False),
        ("gzip;q=0", False, False),
        ("gzip; q = 0", False, False),
        ("gzip ; Q=0", False, False),
        ("*;q=0", False, False),
        ("gzip, *;q=0", True, False),
        ("gzip;q=x", False, False),
        ("gzip;q=", False, False),
        ("gzip;q", False, False),
        ("gzip;q=nan", False, False),
        ("gzippo", False, False),
        (";;,,=", False, False),
    ],
)
async def test_a_coding_is_used_where_the_client_accepts_it(
    rig: tuple[Client, Exporter, Time], header: str, gzip: bool, brotli: bool
) -> None:
    assert (accepts("gzip", header), accepts("br", header)) == (gzip, brotli)
    client, _, _ = rig
    metrics = await client.get("/metrics", headers={"Accept-Encoding": header})
    assert (metrics.headers.get("Content-Encoding") == "gzip") is gzip
    assert "exporter_build_info" in await metrics.text()


async def test_without_an_accept_encoding_nothing_is_compressed(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, _ = rig
    async with client.session.get(client.make_url("/metrics"), skip_auto_headers=["Accept-Encoding"]) as response:
        assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    "name", ["process_cpu_seconds_total", "process_cpu_seconds", "python_info", "process_open_fds"]
)
@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS])
async def test_the_process_is_asked_for_by_the_names_of_its_samples(
    rig: tuple[Client, Exporter, Time], name: str, accept: str
) -> None:
    client, _, _ = rig
    text = await (await client.get(f"/metrics?name[]={name}", headers={"Accept": accept})).text()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    assert all(line.startswith(name) for line in samples)


AHEAD = 3600.0  # seconds by which a server's clock is wrong


async def test_a_server_whose_clock_is_ahead_does_not_freeze_a_gauge(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    seats = {"type": "class_seats", "data": {"class_type": "group", "booked": 1, "capacity": 8}}
    ahead = {"sent_at": time.now + AHEAD, "events": [{**seats, "time": time.now + AHEAD}]}
    assert (await client.post("/api/events", json=ahead, headers=TOKEN)).status == 202
    time.now += 1
    later = {**seats, "data": {"class_type": "group", "booked": 5, "capacity": 8}, "time": time.now}
    await client.post("/api/events", json=[later], headers=TOKEN)
    assert await value(client, "class_seats_booked", class_type="group") == 5


async def test_the_times_of_a_server_whose_clock_is_behind_are_corrected(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    name = "support_oldest_unanswered_ticket_timestamp_seconds"
    for booked, wrong in ((1, 0.0), (5, -AHEAD)):
        time.now += 10
        its = time.now + wrong
        data = {"class_type": "group", "booked": booked, "capacity": 8}
        events = [
            {"type": "class_seats", "time": its, "data": data},
            {"type": "backup_finished", "time": its, "data": {"database": "heypeter"}},
            {"type": "tickets_counted", "data": {"priority": "high", "open": 2, "oldest_unanswered": its - 60}},
        ]
        answer = await client.post("/api/events", json={"sent_at": its, "events": events}, headers=TOKEN)
        assert answer.status == 202
        assert await value(client, "class_seats_booked", class_type="group") == booked
        assert await value(client, "backup_last_success_timestamp_seconds", database="heypeter") == time.now
        assert await value(client, name, ticket_priority="high") == time.now - 60


@pytest.mark.parametrize("wrong", [0.0, AHEAD, -AHEAD])
@pytest.mark.parametrize("none", [{"oldest_unanswered": 0}, {"oldest_unanswered": None}, {}])
async def test_that_there_is_no_oldest_is_no_time(
    rig: tuple[Client, Exporter, Time], none: dict[str, object], wrong: float
) -> None:
    client, _, time = rig
    for data in ({"open": 1, "oldest_unanswered": time.now - 900}, {"open": 0, **none}):
        time.now += 10
        event = {"type": "tickets_counted", "data": {"priority": "high", **data}}
        batch = {"sent_at": time.now + wrong, "events": [event]}
        assert (await client.post("/api/events", json=batch, headers=TOKEN)).status == 202
    assert await value(client, "support_tickets_open", ticket_priority="high") == 0
    assert await value(client, "support_oldest_unanswered_ticket_timestamp_seconds", ticket_priority="high") == 0


async def test_requests_of_data_subjects_may_all_be_closed(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    name = "compliance_oldest_open_subject_request_timestamp_seconds"
    for oldest, shown in (({"oldest": time.now - 900}, time.now - 900), ({}, 0)):
        time.now += 10
        event = {"type": "subject_requests_open", "data": {"kind": "erasure", **oldest}}
        assert (await client.post("/api/events", json=[event], headers=TOKEN)).status == 202
        assert await value(client, name, kind="erasure") == shown


async def test_what_is_refused_for_its_time_has_no_age(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    events = [
        {"type": "class_booked", "time": at, "data": {"class_type": "group", "channel": "web"}}
        for at in (time.now - 3, time.now + 3600, 0)
    ]
    assert (await client.post("/api/events", json=events, headers=TOKEN)).status == 202
    assert await value(client, "exporter_event_age_seconds_count", source="events") == 1
    assert await value(client, "exporter_event_age_seconds_sum", source="events") == 3


@pytest.mark.parametrize("sends_its_time", [True, False])
async def test_no_time_of_a_sender_lies_in_our_future(rig: tuple[Client, Exporter, Time], sends_its_time: bool) -> None:
    client, _, time = rig
    ahead = AHEAD if sends_its_time else 50.0
    rfc3339 = datetime.fromtimestamp(time.now + ahead, UTC).isoformat()
    batch: dict[str, object] = {"sent_at": time.now + ahead} if sends_its_time else {}
    batch["events"] = [
        {"type": "backup_finished", "time": rfc3339, "data": {"database": "heypeter"}},
        {"type": "tickets_counted", "data": {"priority": "high", "open": 2, "oldest_unanswered": rfc3339}},
    ]
    assert (await client.post("/api/events", json=batch, headers=TOKEN)).status == 202
    assert await value(client, "backup_last_success_timestamp_seconds", database="heypeter") == time.now
    name = "support_oldest_unanswered_ticket_timestamp_seconds"
    assert await value(client, name, ticket_priority="high") == time.now


@pytest.mark.parametrize(
    "event",
    [
        {"type": "backup_finished", "time": "2026-09-21T10:00:00", "data": {"database": "heypeter"}},
        {
            "type": "tickets_counted",
            "data": {"priority": "high", "open": 2, "oldest_unanswered": "2026-09-21T10:00:00"},
        },
    ],
)
async def test_a_time_without_a_zone_is_refused(rig: tuple[Client, Exporter, Time], event: dict[str, object]) -> None:
    client, _, _ = rig
    response = await client.post("/api/events", json=[event], headers=TOKEN)
    body = await response.json()
    assert response.status == 400
    assert body["rejected"][0]["reason"] in {"schema", "value_range"}
    assert "time" in body["rejected"][0]["field"] or "oldest" in body["rejected"][0]["field"]


async def test_an_event_that_is_sent_again_after_days_is_counted_once(rig: tuple[Client, Exporter, Time]) -> None:
    client, _, time = rig
    event = {
        "type": "class_booked",
        "id": "booking-1",
        "source": "app",
        "time": time.now,
        "data": {"class_type": "group", "channel": "web"},
    }
    for days in (0, 1, 2, 3.9):  # the last one is 6.9 days old
        time.now += days * 86_400
        body = await (await client.post("/api/events", json=[event], headers=TOKEN)).json()
        assert (body["accepted"], body["duplicates"]) == ((1, 0) if not days else (0, 1))
    time.now += 86_400
    body = await (await client.post("/api/events", json=[event], headers=TOKEN)).json()
    assert body["rejected"][0]["reason"] == "too_old"
