"""The tunnel over HTTP: real browsers' envelopes to a real upstream, Sentry's limits, and whoever means no good."""

import asyncio
import gzip
import io
import json
import logging
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from exporter.events.decode import Schema
from exporter.registry.recorder import Recorder
from exporter.self_metrics import Metrics
from exporter.sentry_tunnel.dsn import TunnelSettings
from exporter.sentry_tunnel.forward import SESSION, Tunnel
from exporter.sentry_tunnel.rate_limits import Backoff
from exporter.web.rate_limit import Limiter
from process.client_address import Clients
from tests.exporter.example_exporter import BROWSER, Time, the_example
from tests.fakes.sentry import FakeSentry
from tests.process.bounded_server import BoundedServer

ADDRESS = "203.0.113.7"
ID = "9ec79c33ec9942ab8353589fcb2e04dc"


class Counts(Metrics):
    """The exporter's metrics, which remember each call as well."""

    def __init__(self) -> None:
        catalogue = the_example()[1]
        super().__init__(Recorder(catalogue, Schema(catalogue), b"key"))
        self.items: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.seconds: list[float] = []

    def item(self, item: str, outcome: str, n: int) -> None:
        super().item(item, outcome, n)
        self.items[item, outcome] += n

    def discarded(self, reason: str, n: int) -> None:
        super().discarded(reason, n)
        self.reasons[reason] += n

    def upstream(self, seconds: float) -> None:
        super().upstream(seconds)
        self.seconds.append(seconds)


class Rig:
    def __init__(self, sentry: FakeSentry, session: aiohttp.ClientSession) -> None:
        self.sentry, self.session = sentry, session
        self.counts, self.time, self.burst = Counts(), Time(), 1000.0
        self.client: TestClient[web.Request, web.Application]

    async def start(self, **changes: Any) -> None:  # noqa: ANN401  # parts of the settings
        settings = msgspec.structs.replace(TunnelSettings(dsns=(self.sentry.dsn,), timeout=30), **changes)  # type: ignore[arg-type]
        clients, limiter = Clients(("127.0.0.0/8", "::1/128")), Limiter(0.4, self.burst, 1000, 1000, self.time())
        tunnel = Tunnel(settings, self.counts, clients, limiter, self.time)
        app = web.Application()
        app[SESSION] = self.session
        app.router.add_post(settings.path, tunnel.handle)
        self.client = TestClient(BoundedServer(app))
        await self.client.start_server()

    async def post(self, body: bytes, **headers: str) -> aiohttp.ClientResponse:
        return await self.client.post(
            "/api/report", data=io.BytesIO(body), headers={**BROWSER, "X-Forwarded-For": ADDRESS, **headers}
        )

    def envelope(self, *items: tuple[str, Any], dsn: str | None = None) -> bytes:
        head = {"event_id": ID, "sent_at": "2026-11-23T09:00:00Z", "dsn": self.sentry.dsn if dsn is None else dsn}
        lines = [json.dumps(head).encode()]
        for kind, payload in items:
            data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            lines += [json.dumps({"type": kind, "length": len(data)}).encode(), data]
        return b"\n".join(lines)


@pytest.fixture
async def sentry() -> AsyncIterator[FakeSentry]:
    sentry = FakeSentry()
    await sentry.start()
    yield sentry
    await sentry.stop()


@pytest.fixture
async def rig(sentry: FakeSentry) -> AsyncIterator[Rig]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        rig = Rig(sentry, session)
        await rig.start()
        yield rig
        await rig.client.close()


ERROR: tuple[str, Any] = ("event", {"message": "it broke", "level": "error"})
WARNING: tuple[str, Any] = ("event", {"message": "it creaks", "level": "warning"})
A_SESSION: tuple[str, Any] = ("session", {"sid": "1", "status": "ok"})


async def test_an_envelope_arrives_byte_by_byte_as_it_was_sent(rig: Rig) -> None:
    body = rig.envelope(ERROR, ("attachment", b"\x00\xff\nbinary\n"), ("unheard_of", {"x": 1})) + b"\n"
    answer = await rig.post(body)
    assert (answer.status, await answer.json()) == (200, {})
    (received,) = rig.sentry.received
    assert received.body == body
    assert received.query == {"sentry_version": "7", "sentry_key": rig.sentry.key}
    assert received.headers["Content-Type"] == "application/x-sentry-envelope"
    expected = {("event", "forwarded"): 1, ("attachment", "forwarded"): 1, ("other", "forwarded"): 1}
    assert rig.counts.items == expected
    assert rig.counts.seconds == [0.0]


async def test_sentry_learns_the_visitors_address_and_browser_and_nothing_that_signs_in(rig: Rig) -> None:
    headers = {
        "Cookie": "session=s3cret",
        "Authorization": "Bearer s3cret",
        "Proxy-Authorization": "Basic s3cret",
        "X-Api-Key": "s3cret",
        "X-Forwarded-For": f"6.6.6.6, {ADDRESS}",
        "X-Sentry-Forwarded-For": "6.6.6.6",
        "X-Sentry-Auth": "Sentry sentry_key=s3cret",
        "Forwarded": "for=6.6.6.6",
        "Referer": "https://app.heypeteracademy.com/invoices?of=anna",
        "Sec-CH-UA-Mobile": "?0",
    }
    assert (await rig.post(rig.envelope(ERROR), **headers)).status == 200
    (received,) = rig.sentry.received
    assert received.headers["X-Forwarded-For"] == received.headers["X-Sentry-Forwarded-For"] == ADDRESS
    assert received.headers["User-Agent"] == BROWSER["User-Agent"]
    assert received.headers["Origin"] == BROWSER["Origin"]
    names = {name.title() for name in received.headers}
    transport = {"Host", "Accept", "Accept-Encoding", "Content-Length", "Content-Type"}
    known = {"User-Agent", "Origin", "Sec-Ch-Ua-Mobile", "X-Forwarded-For", "X-Sentry-Forwarded-For"}
    assert names <= transport | known
    assert "s3cret" not in str(received.headers)
    assert "6.6.6.6" not in str(received.headers)


async def test_a_header_that_cannot_be_sent_on_is_left_out(rig: Rig) -> None:
    host, port = rig.client.host, rig.client.port
    reader, writer = await asyncio.open_connection(host, port)
    body = rig.envelope(ERROR)
    head = f"POST /api/report HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"User-Agent: Mozilla/5.0 \xff\xfe\r\n\r\n" + body)
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert "Mozilla" not in rig.sentry.received[0].headers["User-Agent"]


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
async def test_compressed_bodies_are_taken(rig: Rig, encode: Any) -> None:  # noqa: ANN401  # a function
    name = "gzip" if encode is gzip.compress else "deflate"
    body = rig.envelope(ERROR)
    assert (await rig.post(encode(body), **{"Content-Encoding": name})).status == 200
    assert rig.sentry.received[0].body == body


@pytest.mark.parametrize(
    "change",
    [
        lambda dsn: dsn + "/",
        lambda dsn: dsn + " ",
        lambda dsn: dsn.replace("http://", "https://"),
        lambda dsn: dsn.replace("http://", "HTTP://"),
        lambda dsn: dsn.replace("127.0.0.1", "localhost"),
        lambda dsn: dsn.replace("@", ":secret@"),
        lambda dsn: dsn.replace("/42", "/43"),
        lambda dsn: dsn.replace("/42", "/042"),
        lambda dsn: dsn + "?x=1",
        lambda dsn: dsn + "\u200b",
        lambda dsn: dsn[:-1],
        lambda dsn: "http://" + dsn.partition("@")[2],
        lambda _: "http://key@169.254.169.254/latest/meta-data/42",
        lambda _: "",
    ],
)
async def test_only_the_very_dsn_is_forwarded(rig: Rig, change: Any) -> None:  # noqa: ANN401  # a function
    answer = await rig.post(rig.envelope(ERROR, A_SESSION, dsn=change(rig.sentry.dsn)))
    assert answer.status == 403
    assert (rig.sentry.calls, rig.sentry.elsewhere) == (0, 0)
    assert rig.counts.items == {("event", "dsn_denied"): 1, ("session", "dsn_denied"): 1}


async def test_what_an_envelope_says_never_reaches_the_url(rig: Rig) -> None:
    line = json.dumps({"dsn": rig.sentry.dsn, "path": "/x", "project": "9", "host": "evil"}).encode()
    answer = await rig.client.post(
        "/api/report?o=1&p=9&sentry_key=zzz", data=line + b'\n{"type":"session"}\n{}', headers=BROWSER
    )
    assert answer.status == 200
    assert rig.sentry.received[0].query["sentry_key"] == rig.sentry.key


async def test_a_relay_can_take_the_envelopes_of_a_dsn(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        dsn = f"https://{sentry.key}@o1.ingest.sentry.io/42"
        await rig.start(dsns=(dsn,), upstream={dsn: sentry.url})
        assert (await rig.post(rig.envelope(ERROR, dsn=dsn))).status == 200
        assert len(sentry.received) == 1
        await rig.client.close()


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"{}", b'{"dsn":null}\n', b'{"dsn":["http://key@host/42"]}', b"[" * 100_000]
)
async def test_what_is_no_envelope_is_400(rig: Rig, body: bytes) -> None:
    assert (await rig.post(body)).status == 400
    assert rig.counts.items == {("other", "bad_envelope"): 1}
    assert rig.sentry.calls == 0


async def test_a_corrupt_body_is_400_and_an_unknown_coding_415(rig: Rig) -> None:
    assert (await rig.post(b"not gzip", **{"Content-Encoding": "gzip"})).status == 400
    assert (await rig.post(b"whatever", **{"Content-Encoding": "compress"})).status == 415
    assert rig.counts.items == {("other", "bad_envelope"): 2}


async def test_large_bodies_and_bombs_are_413(rig: Rig) -> None:
    large = rig.envelope(("replay_recording", b"x" * (2 * 1024 * 1024)))
    assert (await rig.post(large)).status == 413
    assert (await rig.post(gzip.compress(bytes(50_000_000)), **{"Content-Encoding": "gzip"})).status == 413
    assert rig.sentry.calls == 0
    just = rig.envelope(
        ("replay_recording", b"x" * (2 * 1024 * 1024 - len(rig.envelope(("replay_recording", b""))) - 6))
    )
    assert len(just) == 2 * 1024 * 1024
    assert (await rig.post(just)).status == 200


async def test_a_body_that_never_ends_is_given_up(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        await rig.start(timeout=0.05, max_in_flight=1)
        reader, writer = await asyncio.open_connection(rig.client.host, rig.client.port)
        writer.write(b"POST /api/report HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
        assert rig.counts.items == {("other", "bad_envelope"): 1}
        await rig.client.close()


async def test_warnings_are_dropped_as_the_documents_before_send_does(rig: Rig) -> None:
    answer = await rig.post(rig.envelope(WARNING, ("attachment", b"screenshot")))
    assert (answer.status, await answer.json(), rig.sentry.calls) == (200, {}, 0)
    assert (await rig.post(rig.envelope(("attachment", b"x"), WARNING, A_SESSION))).status == 200
    assert rig.sentry.received[0].types == ["session"]
    assert rig.sentry.received[0].body == rig.envelope(A_SESSION)
    assert rig.counts.items == {
        ("event", "dropped_filter"): 2,
        ("attachment", "dropped_filter"): 2,
        ("session", "forwarded"): 1,
    }


@pytest.mark.parametrize("kind", ["transaction", "feedback", "replay_event", "log"])
async def test_only_events_have_a_level_that_counts(rig: Rig, kind: str) -> None:
    assert (await rig.post(rig.envelope((kind, {"level": "warning"})))).status == 200
    assert rig.counts.items == {(kind, "forwarded"): 1}


async def test_what_is_dropped_by_level_is_configured(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        await rig.start(drop_levels=("info", "debug"))
        await rig.post(rig.envelope(WARNING))
        await rig.post(rig.envelope(("event", {"level": "info"})))
        assert rig.counts.items == {("event", "forwarded"): 1, ("event", "dropped_filter"): 1}
        await rig.client.close()


async def test_an_event_that_cannot_be_read_is_sentrys_to_judge(rig: Rig) -> None:
    await rig.post(rig.envelope(("event", b'{"level": "warn')))
    assert rig.counts.items == {("event", "forwarded"): 1}


@pytest.mark.parametrize("agent", ["Mozilla/5.0 (compatible; Googlebot/2.1)", "", "curl/8.5.0"])
async def test_an_error_is_an_error_whoever_saw_it(rig: Rig, agent: str) -> None:
    answer = await rig.post(rig.envelope(ERROR), **{"User-Agent": agent})
    assert (answer.status, rig.sentry.calls) == (200, 1)
    assert rig.counts.items == {("event", "forwarded"): 1}


async def test_an_envelope_of_nothing_is_answered_and_not_sent(rig: Rig) -> None:
    assert (await rig.post(rig.envelope())).status == 200
    assert rig.sentry.calls == 0


async def test_client_reports_are_counted_and_sent_on(rig: Rig) -> None:
    entries = [
        {"reason": "ratelimit_backoff", "category": "error", "quantity": 7},
        {"reason": "sample_rate", "category": "transaction", "quantity": 90},
        {"reason": "before_send", "category": "error", "quantity": 2},
    ]
    await rig.post(rig.envelope(("client_report", {"timestamp": 1, "discarded_events": entries})))
    assert rig.counts.reasons == {"rate_limited": 7, "sample_rate": 90, "before_send": 2}
    assert rig.sentry.received[0].types == ["client_report"]


async def test_no_report_counts_that_is_not_for_us(rig: Rig) -> None:
    report = ("client_report", {"discarded_events": [{"reason": "sample_rate", "quantity": 9}]})
    await rig.post(rig.envelope(report, dsn="https://key@elsewhere/1"))
    assert not rig.counts.reasons


# Limits: develop.sentry.dev/sdk/foundations/transport/rate-limiting/


async def test_a_limit_is_passed_back_and_kept_without_asking_sentry_again(rig: Rig) -> None:
    limits = "30:error;default:organization:quota_exceeded, 90:replay:key"
    rig.sentry.answers = [(429, {"X-Sentry-Rate-Limits": limits, "Retry-After": "30"})]
    answer = await rig.post(rig.envelope(ERROR))
    assert (answer.status, answer.headers["X-Sentry-Rate-Limits"], answer.headers["Retry-After"]) == (429, limits, "30")
    assert "words for nobody" not in await answer.text()

    rig.time.now += 10.5
    answer = await rig.post(rig.envelope(ERROR, ("attachment", b"x")))
    assert (answer.status, rig.sentry.calls) == (429, 1)
    assert answer.headers["Retry-After"] == "20"
    assert answer.headers["X-Sentry-Rate-Limits"] == "20:error:organization"

    assert (await rig.post(rig.envelope(A_SESSION))).status == 200
    rig.time.now += 20
    assert (await rig.post(rig.envelope(ERROR))).status == 200
    answer = await rig.post(rig.envelope(("replay_event", {}), ("replay_recording", b"x")))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
    assert rig.counts.items[("event", "upstream_429")] == 2
    assert rig.counts.items[("attachment", "upstream_429")] == 1


async def test_what_is_not_limited_goes_on_alone_and_the_sdk_is_told(rig: Rig) -> None:
    rig.sentry.answers = [(200, {"X-Sentry-Rate-Limits": "60:error:organization"})]
    answer = await rig.post(rig.envelope(ERROR))
    assert (answer.status, answer.headers["X-Sentry-Rate-Limits"]) == (200, "60:error:organization")
    answer = await rig.post(rig.envelope(ERROR, ("attachment", b"x"), A_SESSION, ("feedback", {"message": "help"})))
    assert (answer.status, answer.headers["X-Sentry-Rate-Limits"]) == (200, "60:error:organization")
    assert "Retry-After" not in answer.headers
    assert rig.sentry.received[-1].body == rig.envelope(A_SESSION, ("feedback", {"message": "help"}))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 60),
        ({"Retry-After": "17"}, 17),
        ({"Retry-After": "soon"}, 60),
        ({"Date": "Mon, 23 Nov 2026 09:00:00 GMT", "Retry-After": "Mon, 23 Nov 2026 09:00:45 GMT"}, 45),
        ({"Date": "Mon, 23 Nov 2026 09:00:00 GMT", "Retry-After": "Mon, 99999999999 Nov 2026 09:00:45 GMT"}, 60),
        ({"X-Sentry-Rate-Limits": "12::organization"}, 12),
        ({"X-Sentry-Rate-Limits": "x:session;error:key"}, 60),
        ({"X-Sentry-Rate-Limits": "9999999:session:key"}, 86_400),
    ],
)
async def test_a_limit_without_a_category_holds_all_of_it(rig: Rig, headers: dict[str, str], seconds: int) -> None:
    rig.sentry.answers = [(429, headers)]
    assert (await rig.post(rig.envelope(ERROR))).status == 429
    rig.time.now += seconds - 0.5
    assert (await rig.post(rig.envelope(A_SESSION))).status == 429
    assert rig.sentry.calls == 1
    rig.time.now += 0.6
    assert (await rig.post(rig.envelope(A_SESSION))).status == 200


async def test_the_limit_of_one_project_is_not_that_of_another(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        other = sentry.dsn.replace("0123", "4567")
        await rig.start(dsns=(sentry.dsn, other))
        sentry.answers = [(429, {})]
        assert (await rig.post(rig.envelope(ERROR))).status == 429
        sentry.key = sentry.key.replace("0123", "4567")
        assert (await rig.post(rig.envelope(ERROR, dsn=other))).status == 200
        await rig.client.close()


def test_what_is_remembered_of_limits_is_bounded() -> None:
    backoff = Backoff()
    for number in range(5000):
        backoff.learn("dsn", 429, {"X-Sentry-Rate-Limits": f"60:category{number};error:organization:r:n{number}"}, 0.0)
    assert backoff.remaining("dsn", "error", 0.0) == 60
    assert backoff.remaining("dsn", "category7", 0.0) == 0
    assert len(backoff) == 1


def test_limits_of_custom_metrics_are_not_those_of_others() -> None:
    backoff = Backoff()
    backoff.learn("dsn", 429, {"X-Sentry-Rate-Limits": "60:metric_bucket:organization:quota:transactions;spans"}, 0.0)
    assert backoff.remaining("dsn", "metric_bucket", 0.0) == 0
    backoff.learn("dsn", 429, {"X-Sentry-Rate-Limits": "60:metric_bucket:organization:quota:spans;custom"}, 0.0)
    assert backoff.remaining("dsn", "metric_bucket", 0.0) == 60


def test_the_longest_of_several_limits_counts() -> None:
    backoff = Backoff()
    backoff.learn("dsn", 200, {"X-Sentry-Rate-Limits": "60:error:key, 5:error:organization,30::key"}, 0.0)
    assert (backoff.remaining("dsn", "error", 10.0), backoff.remaining("dsn", "session", 10.0)) == (50, 20)


# When Sentry does not answer as it should.


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [(500, 503), (502, 503), (503, 503), (400, 400), (413, 413), (401, 503), (403, 503), (404, 503)],
)
async def test_other_answers_of_sentry(rig: Rig, theirs: int, ours: int) -> None:
    rig.sentry.answers = [(theirs, {})]
    answer = await rig.post(rig.envelope(ERROR))
    assert answer.status == ours
    assert "words for nobody" not in await answer.text()
    assert rig.counts.items == {("event", "upstream_error"): 1}
    assert (await rig.post(rig.envelope(ERROR))).status == 200


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(rig: Rig, status: int) -> None:
    rig.sentry.answers = [(status, {"Location": f"{rig.sentry.url}/latest/meta-data"})]
    answer = await rig.post(rig.envelope(ERROR))
    assert (answer.status, rig.sentry.calls, rig.sentry.elsewhere) == (503, 1, 0)
    assert "Location" not in answer.headers


async def test_503_when_sentry_is_down(rig: Rig) -> None:
    await rig.sentry.stop()
    assert (await rig.post(rig.envelope(ERROR))).status == 503
    assert rig.counts.items == {("event", "upstream_error"): 1}
    assert len(rig.counts.seconds) == 1


async def test_503_when_sentry_does_not_answer_in_time(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        await rig.start(timeout=2)
        sentry.hang = asyncio.Event()
        assert (await rig.post(rig.envelope(ERROR))).status == 503
        assert rig.counts.items == {("event", "upstream_error"): 1}
        await rig.client.close()


async def test_no_more_are_under_way_than_allowed(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        await rig.start(max_in_flight=2)
        sentry.hang = asyncio.Event()
        first = [asyncio.create_task(rig.post(rig.envelope(ERROR))) for _ in range(2)]
        while sentry.calls < 2:
            await sentry.arrived.wait()
            sentry.arrived.clear()
        answer = await rig.post(rig.envelope(ERROR))
        assert (answer.status, answer.headers["Retry-After"], sentry.calls) == (503, "5", 2)
        assert rig.counts.items == {("other", "queue_full"): 1}
        sentry.hang.set()
        assert [(await task).status for task in first] == [200, 200]
        assert (await rig.post(rig.envelope(ERROR))).status == 200
        await rig.client.close()


async def test_a_client_over_its_budget_waits(sentry: FakeSentry) -> None:
    async with aiohttp.ClientSession() as session:
        rig = Rig(sentry, session)
        rig.burst = 2
        await rig.start()
        assert (await rig.post(rig.envelope(ERROR, A_SESSION))).status == 200
        answer = await rig.post(rig.envelope(ERROR))
        assert (answer.status, answer.headers["Retry-After"], sentry.calls) == (429, "3", 1)
        assert rig.counts.items["other", "dropped_budget"] == 1
        await rig.client.close()


@pytest.mark.parametrize("pause", [0, 0.01])
async def test_connections_to_sentry_are_used_again(rig: Rig, pause: float) -> None:
    rig.sentry.pause = pause
    for _ in range(5):
        await rig.post(rig.envelope(ERROR))
    assert len({id(received.peer) for received in rig.sentry.received}) == 1


async def test_nothing_of_an_envelope_is_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "anna@example.com"
    rig.sentry.answers = [(500, {}), (404, {}), (302, {"Location": "http://x/"})]
    for _ in range(3):
        await rig.post(rig.envelope(("event", {"user": secret})))
    await rig.post(rig.envelope(("event", {"user": secret}), dsn=f"https://{secret}/1"))
    await rig.post(b'{"dsn":"' + secret.encode())
    text = "".join(record.getMessage() for record in caplog.records if record.name.startswith(("exporter", "aiohttp")))
    assert secret not in text
    assert rig.sentry.key not in text
    assert text.count("rejected by Sentry: HTTP 500") == 1
    assert "404" not in text, "it complains once a minute"
