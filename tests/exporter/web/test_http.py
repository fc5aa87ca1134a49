"""The exporter over HTTP: the document's clients, servers with a token, Prometheus, and whoever means no good."""

import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import Exporter, Settings
from exporter.config import Config, shipped_catalogue
from tests.exporter.example_exporter import (
    BROWSER,
    ORIGIN,
    TOKEN,
    Client,
    Time,
    a_config,
    an_application,
    an_exporter,
    error,
    value,
)
from tests.process.bounded_server import BoundedServer


class Rig:
    def __init__(self, client: Client, exporter: Exporter, time: Time) -> None:
        self.client, self.exporter, self.time = client, exporter, time

    async def events(self, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:  # noqa: ANN401  # JSON
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.post("/api/events", data=io.BytesIO(data), headers={**TOKEN, **headers})
        return answer.status, await answer.json()

    async def beacon(self, path: str, body: Any, **headers: str) -> int:  # noqa: ANN401  # JSON
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.client.post(path, data=io.BytesIO(data), headers={**BROWSER, **headers})
        return answer.status

    async def rejected(self, source: str, reason: str) -> float | None:
        return await value(self.client, "exporter_events_rejected_total", source=source, reason=reason)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    time = Time()
    exporter = an_exporter(time, a_config(first_increment_hold=0))
    async with TestClient(BoundedServer(an_application(exporter))) as client:
        rig = Rig(client, exporter, time)
        yield rig


def request(route: str = "/api/bookings", status: int = 200, **more: object) -> dict[str, object]:
    data = {"method": "POST", "route": route, "status": status, "duration": 0.25}
    return {"type": "http_request", "data": data, **more}


async def test_requests_become_the_metrics_of_the_rules(rig: Rig) -> None:
    status, answer = await rig.events([request(), request(status=503), request("/api/bookings/42?tab=x")])
    assert (status, answer["accepted"], answer["rejected"]) == (202, 3, [])
    assert await value(rig.client, "http_requests_total", method="POST", route="/api/bookings", status="503") == 1
    assert await value(rig.client, "http_requests_total", method="POST", route="/api/bookings/[id]", status="200") == 1
    labels = {"method": "POST", "route": "/api/bookings"}
    assert await value(rig.client, "http_request_duration_seconds_bucket", **labels, le="0.3") == 2
    assert await value(rig.client, "http_request_duration_seconds_sum", **labels) == 0.5


@pytest.mark.parametrize(
    ("kind", "data", "sample", "labels"),
    [
        (
            "user_registered",
            {"channel": "web", "plan": "trial"},
            "user_registrations_total",
            {"channel": "web", "plan": "trial"},
        ),
        (
            "class_booked",
            {"class_type": "private", "channel": "mobile"},
            "class_bookings_total",
            {"class_type": "private", "channel": "mobile"},
        ),
        (
            "class_cancelled",
            {"class_type": "group", "by": "teacher", "reason": "illness"},
            "class_cancellations_total",
            {"class_type": "group", "by": "teacher", "reason": "illness"},
        ),
        ("payment_attempted", {"provider": "stripe"}, "payment_attempts_total", {"provider": "stripe"}),
        (
            "payment_failed",
            {"provider": "stripe", "reason": "timeout"},
            "payment_failures_total",
            {"provider": "stripe", "reason": "timeout"},
        ),
        (
            "login_failed",
            {"method": "password", "reason": "locked"},
            "auth_login_failures_total",
            {"method": "password", "reason": "locked"},
        ),
        (
            "cache_request",
            {"cache": "session", "result": "miss"},
            "cache_requests_total",
            {"cache": "session", "result": "miss"},
        ),
    ],
)
async def test_business_events_stand_at_0_and_count(
    rig: Rig, kind: str, data: dict[str, str], sample: str, labels: dict[str, str]
) -> None:
    assert await value(rig.client, sample, **labels) == 0
    assert (await rig.events({"type": kind, "data": data}))[0] == 202
    assert await value(rig.client, sample, **labels) == 1


async def test_a_server_may_say_once_what_happened_often(rig: Rig) -> None:
    query = {"operation": "select", "table": "users", "outcome": "success", "duration": 0.75}
    events = [request(count=40), {"type": "db_query", "count": 3, "data": query}]
    assert (await rig.events(events))[1]["accepted"] == 2
    assert await value(rig.client, "http_requests_total", method="POST", route="/api/bookings", status="200") == 40
    labels = {"operation": "select", "table": "users"}
    assert await value(rig.client, "db_query_duration_seconds_count", **labels) == 3
    assert await value(rig.client, "db_query_duration_seconds_sum", **labels) == 2.25
    assert await value(rig.client, "db_slow_queries_total", **labels) == 3
    view = {"type": "page_load", "count": 1000, "data": {"page": "/", "total": 1, "navigation": "reload"}}
    assert await rig.beacon("/api/pulse", {"events": [view]}) == 204
    views = {"page": "/", "device": "desktop", "navigation": "reload"}
    assert await value(rig.client, "rum_page_views_total", **views) == 1
    for wrong in (0, -1, 1_000_001, 1.5, "2"):
        assert (await rig.events(request(count=wrong)))[1]["rejected"][0]["field"] == "count"


async def test_money_is_counted_in_cents(rig: Rig) -> None:
    data = {"provider": "stripe", "currency": "EUR", "amount": 1999}
    await rig.events([{"type": "payment_completed", "data": data}] * 1000)
    assert await value(rig.client, "payment_revenue_eur_total", plan="other") == 19_990


async def test_the_documents_performance_monitor(rig: Rig) -> None:
    settings = rig.exporter.parts.settings
    browser = msgspec.structs.replace(settings.config.browser, refuse=())  # it sends database queries, too
    rig.exporter.reload(settings._replace(config=msgspec.structs.replace(settings.config, browser=browser)))
    sent: list[dict[str, Any]] = [
        {
            "type": "page_load",
            "data": {
                "page": "/courses",
                "domContentLoaded": 12.5,
                "loadComplete": 1,
                "totalLoadTime": 2950,
                "renderTime": None,
            },
        },
        {
            "type": "api_call",
            "data": {
                "endpoint": "/api/classes/7",
                "method": "GET",
                "duration": 480,
                "status": "error",
                "timestamp": "x",
            },
        },
        {
            "type": "database_query",
            "data": {"query": "SELECT * FROM public.\"users\" WHERE phone = 'XXXX'", "duration": 80, "timestamp": "x"},
        },
    ]
    for body in sent:
        assert await rig.beacon("/api/metrics", body) == 204
    assert (
        await value(rig.client, "rum_page_load_duration_seconds_bucket", page="/courses", device="desktop", le="3.0")
        == 1
    )
    assert (
        await value(rig.client, "rum_page_load_duration_seconds_bucket", page="/courses", device="desktop", le="2.5")
        == 0
    )
    assert await value(rig.client, "rum_render_duration_seconds_count", page="/courses") == 0
    assert await value(rig.client, "api_calls_total", endpoint="/api/classes/[id]", outcome="failure") == 1
    labels = {"operation": "select", "table": "users"}
    assert await value(rig.client, "db_query_duration_seconds_bucket", **labels, le="0.1") == 1
    assert "XXXX" not in await (await rig.client.get("/metrics")).text()


async def test_the_documents_web_vitals_settle_by_id(rig: Rig) -> None:
    for report in (120, 900, 2400):
        body: dict[str, object] = {"metric": "LCP", "value": report, "id": "v5-1", "page": "/", "timestamp": "x"}
        assert await rig.beacon("/api/rum/vitals", body) == 204
    cls: dict[str, object] = {"metric": "CLS", "value": 130, "id": "v5-2", "page": "/", "timestamp": "x"}
    fid = {"metric": "FID", "value": 30, "id": "v5-3", "page": "/", "timestamp": "x"}
    for body in (cls, fid):
        assert await rig.beacon("/api/rum/vitals", body) == 204
    rig.exporter.tick()
    labels = {"page": "/", "device": "desktop"}
    assert await value(rig.client, "rum_largest_contentful_paint_seconds_count", **labels) is None
    rig.time.now += 31
    rig.exporter.tick()
    assert await value(rig.client, "rum_largest_contentful_paint_seconds_count", **labels) == 1
    assert await value(rig.client, "rum_largest_contentful_paint_seconds_sum", **labels) == 2.4
    assert await value(rig.client, "rum_cumulative_layout_shift_score_sum", **labels) == 0.13
    vitals = {"page": "/"}
    assert await value(rig.client, "rum_web_vitals_total", vital="LCP", rating="good", **vitals) == 1
    assert await value(rig.client, "rum_web_vitals_total", vital="CLS", rating="needs-improvement", **vitals) == 1
    assert await value(rig.client, "rum_web_vitals_total", vital="FID", rating="good", **vitals) == 1


async def test_the_documents_interactions(rig: Rig) -> None:
    sent: list[tuple[str, dict[str, Any]]] = [
        ("click", {"element": "BUTTON", "text": "Book", "href": None}),
        ("form_submit", {"formId": "signup", "formName": ""}),
        ("javascript_error", {"message": "Uncaught TypeError: x is undefined", "line": 3, "stack": "…"}),
        ("unhandled_promise_rejection", {"reason": {}}),
    ]
    for kind, data in sent:
        body = {"type": kind, "data": data, "timestamp": "x", "sessionId": "s"}
        assert await rig.beacon("/api/rum/events", body, Referer=f"{ORIGIN}/courses/5?x=1") == 204
    assert await value(rig.client, "rum_clicks_total", page="/courses/[id]", element="button") == 1
    assert await value(rig.client, "rum_form_submits_total", form="signup", outcome="other") == 1
    assert await value(rig.client, "rum_js_errors_total", page="/courses/[id]", kind="TypeError") == 1
    assert await value(rig.client, "rum_unhandled_rejections_total", page="/courses/[id]", kind="other") == 1
    assert await value(rig.client, "rum_active_sessions") == 1


async def test_what_nobody_configured_is_other_and_makes_no_series(rig: Rig) -> None:
    events = [request(f"/attack/{n}", status=200) for n in range(500)]
    await rig.events(events)
    assert await value(rig.client, "http_requests_total", method="POST", route="other", status="200") == 500
    # Once for each family with the label.
    assert (await value(rig.client, "exporter_label_overflow_total", label="route") or 0) % 500 == 0
    assert (await value(rig.client, "exporter_label_overflow_total", label="route") or 0) >= 500
    await rig.events({"type": "http_request", "data": {"method": "BREW", "route": "/", "status": 418, "duration": 0}})
    assert await value(rig.client, "http_requests_total", method="other", route="/", status="4xx") == 1
    assert await value(rig.client, "exporter_series", family="http_requests_total") == 2


@pytest.mark.parametrize(
    ("event", "field", "reason"),
    [
        ({"type": "http_request", "data": {"method": "GET", "route": "/", "duration": 1}}, "data.status", "schema"),
        (request(status=99), "data.status", "value_range"),
        ({"type": "nothing", "data": {}}, "type", "unknown_type"),
        ({"type": "click", "data": {"page": "/", "element": 5}}, "data.element", "schema"),
        ({"data": {}}, "type", "schema"),
        (
            {"type": "payment_completed", "data": {"provider": "stripe", "currency": "EUR", "amount": 1.5}},
            "data.amount",
            "schema",
        ),
        ({"type": "login", "data": {"method": "sso", "colour": "red"}}, "data.colour", "schema"),
    ],
)
async def test_a_bad_event_is_named_and_the_good_ones_count(
    rig: Rig, event: dict[str, object], field: str, reason: str
) -> None:
    status, answer = await rig.events([request(), event])
    assert (status, answer["accepted"]) == (202, 1)
    (rejected,) = answer["rejected"]
    assert (rejected["index"], rejected["field"], rejected["reason"]) == (1, field, reason)
    assert await rig.rejected("events", reason) == 1
    status, answer = await rig.events(event)
    assert status == 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1", "3601", "true", '"1"'])
async def test_a_number_that_is_none_never_reaches_a_counter(rig: Rig, number: str) -> None:
    body = json.dumps([request("/")]).replace("0.25", number)
    status, _ = await rig.events(body.encode())
    assert status == 400
    assert (await rig.events(request("/")))[0] == 202
    assert await value(rig.client, "http_request_duration_seconds_sum", method="POST", route="/") == 0.25


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b"", {}, 400, "bad_json"),
        (b"{", {}, 400, "bad_json"),
        (b"\xff", {}, 400, "bad_json"),
        (b"7", {}, 400, "schema"),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, "bad_encoding"),
        (b"x", {"Content-Encoding": "compress"}, 415, "bad_encoding"),
        (b" " * (1024 * 1024 + 1), {}, 413, "too_large"),
        (gzip.compress(b" " * (1024 * 1024 + 1), mtime=0), {"Content-Encoding": "gzip"}, 413, "too_large"),
        (json.dumps([{}] * 1001).encode(), {}, 400, "too_many"),
        (b"[]", {"Authorization": "Bearer wrong"}, 401, "auth"),
    ],
)
async def test_bad_bodies_of_servers(rig: Rig, body: bytes, headers: dict[str, str], status: int, reason: str) -> None:
    answered, answer = await rig.events(body, **headers)
    assert answered == status
    assert answer["error"]
    assert await rig.rejected("events", reason) == 1


@pytest.mark.parametrize(
    ("path", "source", "body", "status", "reason", "says"),
    [
        ("/api/metrics", "metrics", b"{", 400, "bad_json", "JSON"),
        ("/api/metrics", "metrics", b'{"type": "x", "data": {}}', 400, "unknown_type", "page_load"),
        ("/api/metrics", "metrics", b'{"type": "api_call", "data": {"endpoint": "/"}}', 400, "schema", "duration"),
        ("/api/metrics", "metrics", b" " * 65537, 413, "too_large", "65536"),
        ("/api/rum/vitals", "vitals", b'{"metric": "XYZ", "value": 1, "page": "/"}', 400, "schema", "XYZ"),
        ("/api/rum/vitals", "vitals", b'{"metric": "LCP", "value": -1, "page": "/"}', 400, "value_range", ">= 0"),
        ("/api/rum/vitals", "vitals", b'{"metric": "LCP", "value": NaN, "page": "/"}', 400, "bad_json", "JSON"),
        ("/api/rum/events", "interactions", b'{"type": "scroll", "data": {}}', 400, "unknown_type", "click"),
    ],
)
async def test_bad_bodies_of_browsers(
    rig: Rig, path: str, source: str, body: bytes, status: int, reason: str, says: str
) -> None:
    answer = await rig.client.post(path, data=body, headers=BROWSER)
    assert answer.status == status
    assert says in await error(answer)
    assert await rig.rejected(source, reason) == 1


async def test_a_batch_that_is_sent_again_is_answered_again_and_counted_once(rig: Rig) -> None:
    body = {"batch_id": "b-1", "events": [request(), {"type": "nothing"}]}
    first = await rig.events(body)
    assert await rig.events(body) == first
    assert await value(rig.client, "http_requests_total", method="POST", route="/api/bookings", status="200") == 1
    for _ in range(3):
        await rig.events(request(id="e-1", status=201))
    assert await value(rig.client, "http_requests_total", method="POST", route="/api/bookings", status="201") == 1
    assert await value(rig.client, "exporter_events_duplicate_total", source="events") == 3


async def test_origins(rig: Rig) -> None:
    body = json.dumps({"metric": "LCP", "value": 1, "page": "/"})
    good = ORIGIN
    answer = await rig.client.post("/api/rum/vitals", data=body, headers={**BROWSER, "Origin": good})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == good
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    own = f"http://{rig.client.host}:{rig.client.port}"
    assert (await rig.client.post("/api/rum/vitals", data=body, headers={**BROWSER, "Origin": own})).status == 204
    for bad in ("https://evil.example", "null", good + ".evil.example", ""):
        assert (await rig.client.post("/api/rum/vitals", data=body, headers={**BROWSER, "Origin": bad})).status == 403
        assert (await rig.client.options("/api/rum/vitals", headers={"Origin": bad})).status == 403
    assert (await rig.client.options("/api/metrics", headers={"Origin": good})).status == 204
    assert await rig.rejected("vitals", "origin") == 4


async def test_prometheus_can_read_both_formats_compressed_or_not(rig: Rig) -> None:
    await rig.events(request())
    plain = await rig.client.get("/metrics", headers={"Accept-Encoding": "identity"})
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert {f.name for f in text_string_to_metric_families(await plain.text())} >= {"http_requests"}
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
    answer = await rig.client.get("/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    text = await answer.text()
    assert text.endswith("# EOF\n")
    families = {f.name: f for f in parse_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert families["http_requests"].type == "counter"
    assert "_created" not in text


async def test_health_and_two_exporters_in_one_process(rig: Rig) -> None:
    assert (await rig.client.get("/-/healthy")).status == 200
    assert (await rig.client.get("/-/ready")).status == 200
    rig.exporter.draining = True
    assert (await rig.client.get("/-/ready")).status == 503
    async with TestClient(BoundedServer(an_application(an_exporter(Time())))) as second:
        rig.exporter.draining = False
        await rig.events(request())
        assert await value(second, "http_requests_total", method="POST", route="/api/bookings", status="200") is None


async def test_without_a_token_the_private_endpoint_says_how_to_get_it() -> None:
    exporter = Exporter(Settings(Config(), shipped_catalogue(Config())))
    async with TestClient(BoundedServer(an_application(exporter))) as client:
        answer = await client.post("/api/events", data=b"[]")
        assert answer.status == 404
        assert "events.token_file" in await error(answer)


async def test_an_id_counts_once_also_beside_events_without_one_and_within_one_batch(rig: Rig) -> None:
    booked = {"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}
    known = {**booked, "id": "booking-1", "source": "outbox"}
    _, answer = await rig.events([booked, known, known, {**known, "source": "another"}])
    assert (answer["accepted"], answer["duplicates"]) == (3, 1)
    _, answer = await rig.events([booked, known])
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    assert await value(rig.client, "class_bookings_total", class_type="group", channel="web") == 4


@pytest.mark.parametrize(("ahead", "reasons"), [(59, []), (61, ["future"])])
async def test_an_event_may_be_a_minute_ahead(rig: Rig, ahead: float, reasons: list[str]) -> None:
    _, answer = await rig.events([request(time=rig.time.now + ahead)])
    assert [one["reason"] for one in answer["rejected"]] == reasons


@pytest.mark.parametrize(("wrong", "shown"), [(4, -60 - 4), (-4, -60 + 4), (6, -60), (-6, -60)])
async def test_a_clock_that_is_more_than_five_seconds_off_is_corrected(rig: Rig, wrong: float, shown: float) -> None:
    its = rig.time.now - wrong
    done = {"type": "backup_finished", "time": its - 60, "data": {"database": "heypeter"}}
    assert (await rig.events({"sent_at": its, "events": [done]}))[0] == 202
    at = await value(rig.client, "backup_last_success_timestamp_seconds", database="heypeter")
    assert at == rig.time.now + shown


async def test_a_rejected_event_is_named_by_its_place_in_the_batch(rig: Rig) -> None:
    old = request(time=rig.time.now - 8 * 86_400)
    _, answer = await rig.events([{"type": "nothing"}, request(), old, {"data": {}}, old, request()])
    rejected = [(one["index"], one["reason"]) for one in answer["rejected"]]
    assert rejected == [(0, "unknown_type"), (2, "too_old"), (3, "schema"), (4, "too_old")]
    assert answer["accepted"] == 2


async def test_a_text_that_is_too_long_does_not_lose_the_event(rig: Rig) -> None:
    long = "/" + "a" * 30_000
    status, answer = await rig.events([request(long), request(long + "é"), request()])
    assert (status, answer["accepted"], answer["rejected"]) == (202, 3, [])
    assert await value(rig.client, "http_requests_total", method="POST", route="other", status="200") == 2
    click = {"type": "click", "data": {"page": long, "element": "button" + long}}
    assert await rig.beacon("/api/pulse", {"events": [click]}) == 204
    assert await value(rig.client, "rum_clicks_total", page="other", element="other") == 1
    status, answer = await rig.events([request(id="x" * 30_000), {**request(), "source": long}])
    assert (status, [one["field"] for one in answer["rejected"]]) == (400, ["id", "source"])


async def test_a_query_of_half_a_second_is_not_slow(rig: Rig) -> None:
    data = {"operation": "select", "table": "classes", "outcome": "success"}
    queries = [{"type": "db_query", "data": {**data, "duration": seconds}} for seconds in (0.5, 0.501, None)]
    assert (await rig.events(queries))[0] == 202
    assert await value(rig.client, "db_slow_queries_total", operation="select", table="classes") == 1


async def test_a_batch_of_which_nothing_new_was_counted_is_not_partial(rig: Rig) -> None:
    async def outcomes() -> list[float | None]:
        names = ("ok", "partial", "rejected")
        return [await value(rig.client, "exporter_batches_total", source="events", outcome=name) for name in names]

    known = request(id="request-1")
    await rig.events([known])
    assert await outcomes() == [1, 0, 0]
    assert (await rig.events([known, {"type": "nothing"}]))[0] == 202
    assert await outcomes() == [1, 0, 1]
    await rig.events([request(), {"type": "nothing"}])
    assert await outcomes() == [1, 1, 1]
