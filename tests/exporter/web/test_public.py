"""What browsers reach: our client's batches, limits, robots, consent, lost batches, sessions, and nothing personal."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.ports import free_port
from exporter.app import Addresses, Exporter, Listening, applications, direct_posts
from exporter.config import Limit
from exporter.events.sessions import CAPACITY, Sessions
from exporter.sentry_tunnel.dsn import TunnelSettings
from exporter.web.rate_limit import CLIENTS, Limiter
from exporter.web.user_agent import device, is_bot
from process.client_address import Clients
from process.listener import Connections, Listener
from tests.exporter.example_exporter import (
    BROWSER,
    ORIGIN,
    TOKEN,
    Client,
    Time,
    a_config,
    an_application,
    an_exporter,
    value,
)

LABELS = {"page": "/", "device": "desktop", "navigation": "navigate"}


class Page:
    """A page in somebody's browser."""

    def __init__(self, client: Client, exporter: Exporter, time: Time) -> None:
        self.client, self.exporter, self.time = client, exporter, time
        self.sequence = 0

    async def send(
        self, *events: object, batch: Mapping[str, object] | None = None, headers: dict[str, str] | None = None
    ) -> int:
        client = {"page_id": "p", "sequence": self.sequence, "session": "s"}
        body = {"batch_id": f"b{self.sequence}", "client": client, "events": list(events), **(batch or {})}
        self.sequence += 1
        answer = await self.client.post(
            "/api/pulse", data=json.dumps(body).encode(), headers={**BROWSER, **(headers or {})}
        )
        self.answer = answer
        return answer.status

    async def value(self, name: str, **labels: str) -> float | None:
        return await value(self.client, name, **labels)


def view(**data: object) -> dict[str, object]:
    return {"type": "page_load", "data": {"page": "/", "navigation": "navigate", "total": 1.5, **data}}


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    time = Time()
    exporter = an_exporter(time, a_config(first_increment_hold=0))
    async with TestClient(TestServer(an_application(exporter))) as client:
        yield Page(client, exporter, time)


async def test_a_batch_is_counted_once_however_often_it_comes(page: Page) -> None:
    for _ in range(3):
        page.sequence = 0
        assert await page.send(view()) == 204
    assert await page.value("rum_page_views_total", **LABELS) == 1
    assert await page.value("exporter_events_duplicate_total", source="browser") == 2
    assert await page.value("exporter_batches_total", source="browser", outcome="duplicate") == 2
    assert await page.value("rum_active_sessions") == 1


async def test_the_good_events_of_a_bad_batch_count_and_a_wholly_bad_one_is_refused(page: Page) -> None:
    assert await page.send(view(), view(total=-1), {"type": "class_booked", "data": {}}) == 204
    assert await page.value("rum_page_views_total", **LABELS) == 1
    assert await page.value("exporter_events_rejected_total", source="browser", reason="value_range") == 1
    # What belongs to servers is not to be had from a browser.
    assert await page.value("exporter_events_rejected_total", source="browser", reason="unknown_type") == 1
    assert await page.send(view(total=-1)) == 400
    assert await page.send(*[view()] * 101) == 400
    assert await page.value("exporter_events_rejected_total", source="browser", reason="too_many") == 1


async def test_a_sampled_page_stands_for_many(page: Page) -> None:
    client = {"client": {"sample": 10}}
    report = {"type": "client_report", "data": {"reason": "queue_overflow", "count": 3}}
    vital = {"type": "web_vital", "id": "v", "data": {"vital": "CLS", "page": "/", "rating": "good", "score": 0.25}}
    assert await page.send(view(), vital, batch=client) == 204
    assert await page.send(report) == 204
    page.time.now += 31
    page.exporter.tick()
    assert await page.value("rum_page_views_total", **LABELS) == 10
    duration = {"page": "/", "device": "desktop"}
    assert await page.value("rum_page_load_duration_seconds_count", **duration) == 10
    assert await page.value("rum_page_load_duration_seconds_sum", **duration) == 15
    assert await page.value("rum_cumulative_layout_shift_score_count", **duration) == 10
    assert await page.value("rum_client_dropped_events_total", reason="queue_overflow") == 3


async def test_batches_that_never_came_are_known_by_the_gap(page: Page) -> None:
    for sequence in (0, 1, 4, 3):
        page.sequence = sequence
        await page.send(view())
    page.time.now += 601
    page.exporter.tick()
    assert await page.value("rum_beacons_lost_total") == 1
    assert await page.value("rum_active_sessions") == 0
    page.time.now += 1800
    page.exporter.tick()
    assert await page.value("rum_session_duration_seconds_count") == 1


def test_pages_and_sessions_cost_bounded_memory() -> None:
    visits = Sessions()
    lost = sum(visits.seen(number, 1, number, 0).lost for number in range(1, CAPACITY + 101))
    assert lost == 100
    ended = visits.ended(10_000)
    assert (ended.lost, len(ended.durations)) == (CAPACITY, CAPACITY)


async def test_route_changes_are_views_and_no_page_loads(page: Page) -> None:
    await page.send(view(navigation="soft-navigation", total=0.2))
    assert await page.value("rum_page_views_total", **{**LABELS, "navigation": "soft-navigation"}) == 1
    assert await page.value("rum_route_change_duration_seconds_count", page="/") == 1
    assert await page.value("rum_page_load_duration_seconds_count", page="/", device="desktop") is None


@pytest.mark.parametrize(
    ("offset", "sent", "status", "reason"),
    [
        (0, True, 204, ""),
        (-90_000, False, 400, "too_old"),
        (3600, False, 400, "future"),
        (3600, True, 204, ""),  # the clock is an hour ahead, and says so
        (-200_000, True, 204, ""),
    ],
)
async def test_times_are_judged_by_a_corrected_clock(
    page: Page, offset: float, sent: bool, status: int, reason: str
) -> None:
    clock = (page.time.now + offset) * 1000
    batch = {"sent_at": clock} if sent else {}
    assert await page.send({**view(), "time": clock - 2000}, batch=batch) == status
    assert await page.value("rum_page_views_total", **LABELS) == (None if reason else 1)
    if reason:
        assert await page.value("exporter_events_rejected_total", source="browser", reason=reason) == 1
    if sent:
        le = "1.0" if offset == 0 else "86400.0"
        expected = 0 if abs(offset) > 86_400 else 1
        assert await page.value("exporter_client_clock_skew_seconds_bucket", le=le) == expected


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0 Safari/537.36",
        "Mozilla/5.0 (Linux; Android 11; moto g) Chrome/140 Mobile Safari/537.36 Chrome-Lighthouse",
        "curl/8.5.0",
    ],
)
async def test_robots_are_answered_and_not_counted(page: Page, agent: str) -> None:
    assert await page.send(view(), view(), view(), headers={"User-Agent": agent}) == 204
    assert await page.value("rum_page_views_total", **LABELS) is None
    assert await page.value("exporter_bot_events_total") == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/metrics", {"type": "page_load", "data": {"page": "/", "totalLoadTime": 1500}}),
        ("/api/rum/vitals", {"metric": "CLS", "value": 0.1, "page": "/", "id": "v1"}),
        ("/api/rum/events", {"type": "click", "data": {"element": "button"}}),
    ],
)
async def test_robots_on_every_endpoint_are_counted_by_event(page: Page, path: str, body: object) -> None:
    robot = {**BROWSER, "User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}
    for _ in range(2):
        answer = await page.client.post(path, data=json.dumps(body).encode(), headers=robot)
        assert answer.status == 204, await answer.text()
    assert await page.value("exporter_bot_events_total") == 2


async def test_a_robot_has_no_more_of_the_budget_than_others(page: Page) -> None:
    robot, statuses = {"User-Agent": "curl/8.5.0"}, set()
    for _ in range(60):
        statuses.add(await page.send(*[view()] * 50, headers=robot))
    assert statuses == {204, 429}


async def test_an_automated_browser_is_a_robot(page: Page) -> None:
    assert await page.send(view(), view(), batch={"client": {"automated": True}}) == 204
    assert await page.value("exporter_bot_events_total") == 2


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605 Version/18.0 Mobile/15E Safari",
            "mobile",
        ),
        ("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605 Version/17.0 Mobile/15E148 Safari", "tablet"),
        ("Mozilla/5.0 (Linux; Android 14; SM-X710) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "tablet"),
        ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "mobile"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Version/18.0 Safari/605", "desktop"),
    ],
)
def test_people_and_their_devices(agent: str, kind: str) -> None:
    assert not is_bot(agent)
    assert device({"User-Agent": agent}) == kind
    assert device({"User-Agent": "Mozilla/5.0 Chrome/140", "Sec-CH-UA-Mobile": "?1"}) == "mobile"
    assert device({"User-Agent": "Mozilla/5.0 (iPad) Chrome/140", "Sec-CH-UA-Mobile": "?1"}) == "tablet"


async def test_global_privacy_control_is_honoured(page: Page) -> None:
    assert await page.send(view(), headers={"Sec-GPC": "1"}) == 204
    assert await page.value("rum_page_views_total", **LABELS) is None
    assert await page.value("exporter_events_rejected_total", source="browser", reason="consent") == 1


@pytest.mark.parametrize("purpose", ["prefetch;prerender", "prefetch; prerender"])
async def test_a_page_that_is_prerendered_is_not_counted(page: Page, purpose: str) -> None:
    """As Chromium 156 marks each request of such a page, also those of the document's classes."""
    load = json.dumps({"type": "page_load", "data": {"page": "/", "totalLoadTime": 900}})
    for headers, views in (({"Sec-Purpose": purpose}, None), ({"Sec-Purpose": "prefetch"}, 1)):
        async with page.client.post("/api/metrics", data=load, headers={**BROWSER, **headers}) as answer:
            assert answer.status == 204
        labels = {"page": "/", "device": "desktop", "navigation": "other"}
        assert await value(page.client, "rum_page_views_total", **labels) == views
    assert await value(page.client, "exporter_events_rejected_total", source="metrics", reason="prerender") == 1


async def test_noise_is_answered_and_not_counted(page: Page) -> None:
    error = json.dumps({"type": "javascript_error", "data": {"message": "ResizeObserver loop limit exceeded"}})
    async with page.client.post("/api/rum/events", data=error, headers=BROWSER) as answer:
        assert answer.status == 204
    assert await value(page.client, "rum_js_errors_total", page="other", kind="other") is None
    assert await value(page.client, "exporter_events_rejected_total", source="interactions", reason="noise") == 1


async def test_a_client_that_sends_too_much_waits_and_others_do_not() -> None:
    time = Time()
    limits = Limit(client_rate=2, client_burst=10, total_rate=1000, total_burst=1000)
    exporter = an_exporter(time, msgspec.structs.replace(a_config(first_increment_hold=0), limits=limits))
    async with TestClient(TestServer(an_application(exporter))) as client:
        page = Page(client, exporter, time)
        one, other = {"X-Forwarded-For": "203.0.113.5"}, {"X-Forwarded-For": "198.51.100.5"}
        assert await page.send(*[view()] * 30, headers=one) == 204
        assert await page.send(view(), headers=one) == 429
        assert int(page.answer.headers["Retry-After"]) >= 10
        assert page.answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert await page.send(view(), headers={"X-Forwarded-For": "203.0.113.77"}) == 429  # the same network
        assert await page.send(view(), headers=other) == 204
        assert await page.value("exporter_events_rejected_total", source="browser", reason="rate_limited") == 2
        assert await page.value("exporter_batches_total", source="browser", outcome="throttled") == 2
        time.now += 30
        assert await page.send(view(), headers=one) == 204


async def test_all_browsers_together_have_a_budget() -> None:
    time = Time()
    limits = Limit(client_rate=1000, client_burst=1000, total_rate=1, total_burst=5)
    exporter = an_exporter(time, msgspec.structs.replace(a_config(), limits=limits))
    async with TestClient(TestServer(an_application(exporter))) as client:
        page = Page(client, exporter, time)
        assert await page.send(*[view()] * 20, headers={"X-Forwarded-For": "203.0.113.5"}) == 204
        assert await page.send(view(), headers={"X-Forwarded-For": "198.51.100.5"}) == 429
        answer = await client.post("/api/events", json=[], headers=TOKEN)
        assert answer.status == 202  # servers are not theirs


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 50), st.floats(0, 5)), max_size=60))
def test_no_client_ever_gets_more_than_its_rate_and_burst(sent: list[tuple[str, int, float]]) -> None:
    limiter, now, passed = Limiter(10, 20, 1e9, 1e9, 0.0), 0.0, dict.fromkeys("abc", 0)
    for client, events, pause in sent:
        now += pause
        if limiter.wait((client,), now) == 0:
            limiter.take((client,), events, now)
            passed[client] += events
        # A batch may pass the edge once: what it took beyond has to be waited for.
        assert passed[client] <= 20 + 10 * now + 50


def test_the_table_of_clients_is_bounded() -> None:
    limiter = Limiter(1, 1, 1e9, 1e9, 0.0)
    for number in range(CLIENTS * 5):
        limiter.wait((str(number),), 1.0)
    assert len(limiter) <= 2 * CLIENTS


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("203.0.113.9", "", "203.0.113"),
        ("203.0.113.9", "1.2.3.4", "203.0.113"),  # not our proxy: its header is its own claim
        ("127.0.0.1", "1.2.3.4", "1.2.3"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3"),  # what the client itself wrote stands further left
        ("127.0.0.1", "1.2.3.4, 10.0.0.7", "1.2.3"),
        ("127.0.0.1", "1.2.3.4:5678", "1.2.3"),
        ("127.0.0.1", "2001:db8:1:ff00::1", "2001:db8:1:ff00::/56"),
        ("::1", '"[2001:db8:1:ffff::1]:443"', "2001:db8:1:ff00::/56"),
        ("::ffff:127.0.0.1", "::ffff:1.2.3.4", "1.2.3"),
        ("127.0.0.1", "unknown", "127.0.0"),
        ("127.0.0.1", "10.0.0.7, 10.0.0.8", "10.0.0"),
        ("", "1.2.3.4", ""),
    ],
)
def test_who_sends_is_the_last_hop_that_is_not_ours(peer: str, forwarded: str, network: str) -> None:
    assert Clients(("127.0.0.0/8", "::1/128", "10.0.0.0/8")).networks(peer, [forwarded])[0] == network


@given(st.text(max_size=60), st.text(max_size=120))
def test_no_header_is_too_strange(peer: str, forwarded: str) -> None:
    Clients(("127.0.0.0/8",)).networks(peer, [forwarded])


async def test_nothing_personal_is_shown_or_kept(page: Page) -> None:
    secret = "anna@example.com"
    path = f"/courses/{secret}?token=hunter2#x"
    await page.send(
        view(page=path),
        {"type": "javascript_error", "data": {"page": path, "kind": secret}},
        {"type": "click", "data": {"page": path, "element": secret}},
        batch={"client": {"page_id": secret, "session": secret}},
        headers={"X-Forwarded-For": "203.0.113.5"},
    )
    text = await (await page.client.get("/metrics")).text()
    state = repr(page.exporter.parts.state.dump(own=True))
    for output in (text, state):
        for word in (secret, "anna", "hunter2", "203.0.113"):
            assert word not in output
    assert await page.value("rum_js_errors_total", page="/courses/[id]", kind="other") == 1


async def test_preflights_are_for_exact_origins_and_may_be_kept(page: Page) -> None:
    answer = await page.client.options("/api/pulse", headers={"Origin": ORIGIN})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    assert answer.headers["Vary"] == "Origin"
    assert (await page.client.options("/api/pulse", headers={"Origin": "https://evil.example"})).status == 403


async def test_with_a_listener_of_its_own_the_public_side_has_nothing_else() -> None:
    exporter = an_exporter(Time())
    settings = exporter.parts.settings
    listeners = applications(
        exporter, Listening(Addresses("a", "b"), None, exporter.reloader(lambda: settings), lifecycle=True)
    )
    (_, private), (_, public) = listeners
    async with TestClient(TestServer(public)) as client:
        for path in ("/metrics", "/-/ready", "/api/events", "/-/reload"):
            assert (await client.get(path)).status == 404
            assert (await client.post(path)).status == 404
    async with TestClient(TestServer(private)) as client:
        assert (await client.post("/api/pulse", data=b"{}", headers=BROWSER)).status == 404


async def test_what_is_answered_without_the_router_passes_the_same_middlewares_and_stays_at_its_address() -> None:
    exporter = an_exporter(Time())
    settings, port = exporter.parts.settings, free_port()
    listening = Listening(Addresses("a", "b"), None, exporter.reloader(lambda: settings), lifecycle=True)
    posts, browsers, *_ = direct_posts(exporter, listening)
    assert ({*posts}, {*browsers}) == ({"/api/events"}, {"/api/pulse"})
    application, connections = applications(exporter, listening)[0][1], Connections(5, Time())
    listener = Listener(application, None, connections, shutdown_timeout=1, posts=posts)
    await listener.start("127.0.0.1", port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        exporter.draining = True
        async with session.post("/api/events", json=[], headers=TOKEN) as answer:
            assert (answer.status, answer.headers["Connection"]) == (503, "close")
    await listener.close()


async def test_while_draining_everything_may_be_sent_again(page: Page) -> None:
    page.exporter.draining = True
    assert await page.send(view()) == 503
    assert page.answer.headers["Retry-After"] == "1"
    answer = await page.client.post("/api/events", json=[], headers=TOKEN)
    assert (answer.status, answer.headers["Connection"]) == (503, "close")
    page.exporter.draining = False
    page.sequence = 0
    assert await page.send(view()) == 204


async def test_reports_to_sentry_need_a_project_and_share_the_limits(page: Page) -> None:
    answer = await page.client.post("/api/report", data=b"{}", headers=BROWSER)
    assert answer.status == 404
    assert "sentry.dsns" in (await answer.json())["error"]
    dsn = "https://abc@sentry.invalid/7"
    limits = Limit(client_rate=1, client_burst=2)
    config = msgspec.structs.replace(a_config(), limits=limits, sentry=TunnelSettings(dsns=(dsn,)))
    async with TestClient(TestServer(an_application(an_exporter(Time(), config)))) as client:
        for status in (403, 403, 429):
            body = b'{"dsn":"https://evil@sentry.invalid/7"}\n{"type":"event"}\n{}\n'
            assert (await client.post("/api/report", data=body, headers=BROWSER)).status == status
        assert await value(client, "sentry_tunnel_items_total", item="event", outcome="dsn_denied") == 2
        assert await value(client, "sentry_tunnel_items_total", item="other", outcome="dropped_budget") == 1


_any: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_kinds = st.sampled_from(["page_load", "web_vital", "api_call", "click", "session_start", "client_report", "x"])
_batches = st.fixed_dictionaries(
    {"events": st.lists(st.fixed_dictionaries({"type": _kinds, "data": _any}), max_size=3) | _any},
    optional={"batch_id": _any, "sent_at": _any, "client": _any},
)


async def _post(body: object) -> int:
    exporter = an_exporter(Time())
    async with TestClient(TestServer(an_application(exporter))) as client:
        answer = await client.post("/api/pulse", data=json.dumps(body).encode(), headers=BROWSER)
        exporter.parts.state.tick(exporter.clock.now() + 10_000)
        assert (await client.get("/metrics")).status == 200
        return answer.status


@given(_batches)
def test_whatever_a_browser_sends_is_answered_and_never_a_500(body: object) -> None:
    assert asyncio.run(_post(body)) in {204, 400}
