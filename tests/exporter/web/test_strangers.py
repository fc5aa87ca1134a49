"""What anybody may post: nothing of it breaks a scrape, takes another's place, or costs more than it should."""

import asyncio
import base64
import functools
import gzip
import json
import random
import re
import stat
import sys
import time
import tracemalloc
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import bcrypt
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, make_mocked_request
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.app import Exporter, Settings
from exporter.catalogue.label_values import Label, LabelValues
from exporter.catalogue.route_templates import Templates, guess
from exporter.config import Browser, Config, Limit
from exporter.events import legacy_browser
from exporter.events.decode import Schema
from exporter.events.sessions import PAGE_TIMEOUT, Sessions
from exporter.exposition.negotiate import PLAIN, Exposition, Format
from exporter.persistence.journal import Journal
from exporter.registry.recorder import Recorder
from exporter.registry.state import Record
from exporter.sentry_tunnel.dsn import TunnelSettings
from exporter.sentry_tunnel.envelope import discarded
from exporter.web import browser_events, server_events
from exporter.web.origin import Origins
from exporter.web.rate_limit import CLIENTS, Limiter
from process.client_address import Clients
from process.web import read_body
from process.web_config import BasicAuth
from tests.exporter.example_exporter import (
    BROWSER,
    ORIGIN,
    TOKEN,
    Client,
    Time,
    a_config,
    an_application,
    an_exporter,
    the_example,
    value,
)
from tests.process.bounded_server import BoundedServer

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALL = {"type": "api_call", "data": {"endpoint": "/api/classes", "outcome": "success", "duration": 0.2}}
REQUEST = {"type": "http_request", "data": {"method": "GET", "route": "/", "status": 200, "duration": 0.1}}
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
DSN = "https://abc@sentry.invalid/7"


class Installation:
    """An exporter with a folder, its client, and restarts."""

    def __init__(self, folder: Path | None, time: Time, config: Config) -> None:
        self.folder, self.time, self.config = folder, time, config
        self.exporter: Exporter
        self.client: Client

    async def start(self) -> None:
        self.exporter = an_exporter(self.time, self.config)
        self.client = TestClient(BoundedServer(an_application(self.exporter)))
        await self.client.start_server()

    async def kill(self) -> None:
        await self.client.close()
        if self.exporter.storage is not None:
            self.exporter.storage.close()

    async def restart(self) -> None:
        await self.kill()
        await self.start()

    async def pulse(
        self, *events: object, batch: Mapping[str, object] | None = None, address: str = "203.0.113.5"
    ) -> int:
        body = json.dumps({"events": list(events), **(batch or {})}).encode()
        return await self.post("/api/pulse", body, {"X-Forwarded-For": address})

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> int:
        async with self.client.post(path, data=body, headers={**BROWSER, **headers}) as answer:
            return answer.status

    async def serve(self, *events: object) -> dict[str, int]:
        async with self.client.post("/api/events", json={"events": list(events)}, headers=TOKEN) as answer:
            answered: dict[str, int] = await answer.json()
            return answered

    async def text(self, **headers: str) -> str:
        async with self.client.get("/metrics", headers=headers) as answer:
            assert answer.status == 200
            return await answer.text()

    async def value(self, name: str, **labels: str) -> float | None:
        return await value(self.client, name, **labels)

    def journal(self) -> bytes:
        assert self.folder is not None
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("*.journal")))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Installation]:
    installation = Installation(tmp_path, Time(), a_config(tmp_path, first_increment_hold=0))
    await installation.start()
    yield installation
    await installation.kill()


@functools.cache
def every_kind_of_character() -> list[str]:
    """Some of each of Unicode's categories, and all that ASCII and Latin-1 have."""
    kinds: dict[str, list[str]] = {}
    for code in range(sys.maxunicode + 1):
        kinds.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    some = [c for characters in kinds.values() for c in {*characters[:2], *characters[-2:]}]
    return sorted({*some, *map(chr, range(0x100))})


# 1. Nothing of a client's text breaks a scrape.


@pytest.mark.parametrize(
    "trace_id",
    [
        *(
            "\u0000",
            "anna@example.com",
            "x" * 32,
            TRACE[:-1],
            TRACE + "0",
            "0" * 32,
            "\n",
            '"',
            "\\",
            "\ud83d\ude00" * 16,
        ),
        *("\u0660" * 32, TRACE[:31] + "\n", TRACE + "\n", " " + TRACE, f"00-{TRACE}-b7ad6b7169203331-01"),
    ],
)
async def test_a_trace_id_is_32_hexadecimal_digits_or_nothing(place: Installation, trace_id: str) -> None:
    assert await place.pulse({**CALL, "trace_id": trace_id}) == 204
    await place.serve({**REQUEST, "trace_id": trace_id})
    await place.serve({**REQUEST, "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"})
    for _ in range(2):
        text = await place.text(**OPEN_METRICS)
        assert "trace_id" not in text
        list(parse_openmetrics(text))  # type: ignore[no-untyped-call]
        assert await place.value("http_requests_total", method="GET", route="/", status="200") == 2
        await place.restart()


@pytest.mark.parametrize(
    "event",
    [
        {"trace_id": TRACE},
        {"trace_id": TRACE.upper()},
        {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        {"traceparent": f"01-{TRACE}-b7ad6b7169203331-01-more"},
    ],
)
async def test_a_good_trace_id_is_shown(place: Installation, event: dict[str, str]) -> None:
    assert await place.pulse({**CALL, **event}) == 204
    await place.serve({**REQUEST, **event})
    assert (await place.text(**OPEN_METRICS)).count(f'{{trace_id="{TRACE}"}}') == 2


@pytest.mark.parametrize("accept", ["text/plain;version=0.0.4", "text/plain;version=1.0.0", OPEN_METRICS["Accept"]])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_no_character_that_a_client_sends_breaks_a_scrape(
    place: Installation, accept: str, encoding: str
) -> None:
    characters = every_kind_of_character()
    sent = [c for c in characters if unicodedata.category(c) != "Cs"]
    events = [
        {
            "type": "page_load",
            "id": c * 20,
            "source": c,
            "trace_id": c * 32,
            "data": {"page": f"/a{c}/{c}", "device": c, "navigation": c, "total": 1},
        }
        for c in sent
    ]
    for start in range(0, len(events), 100):
        assert await place.pulse(*events[start : start + 100], address=f"9.9.{start // 100}.1") == 204
    await place.serve(
        *({**REQUEST, "id": c * 20, "source": c, "trace_id": c * 32, "tracestate": c} for c in sent[:900])
    )
    text = await place.text(Accept=accept, **{"Accept-Encoding": encoding})
    families = list(parse_openmetrics(text) if "openmetrics" in accept else parse_text(text))  # type: ignore[no-untyped-call]
    assert len(families) > 50
    assert text.isascii()


@pytest.mark.parametrize("form", [PLAIN, Format(open_metrics=True, content_type="")])
def test_a_family_that_would_break_a_scrape_is_left_out_and_counted(form: Format) -> None:
    catalogue, omitted = the_example()[1], list[str]()
    for character in [c for c in every_kind_of_character() if unicodedata.category(c) in {"Cc", "Cs"} and c != "\n"]:
        recorder = Recorder(catalogue, Schema(catalogue), b"key")
        recorder.series["rum_clicks_total"].cell((character, "button")).value = 1
        exposition = Exposition(recorder, CollectorRegistry(), 30, lambda: 1.0, omitted.append)
        body = asyncio.run(exposition.render(form, [], gzip=False, process=False)).decode()
        assert "# TYPE rum_clicks" not in body
        assert "# TYPE http_requests" in body
        assert omitted == ["rum_clicks_total"]
        omitted.clear()


@pytest.mark.parametrize("name", ["\x00", "a\tb", "\x7f", "a\x1bb", "\x85"])
async def test_a_name_in_the_configuration_has_no_control_character(tmp_path: Path, name: str) -> None:
    path = tmp_path / "exporter.yml"
    path.write_text(f"lists: {{pages: [{json.dumps(name)}]}}\n", "utf-8")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"lists": {"pages": [name]}}, Config)


# 2. A browser takes nothing from a server.


async def test_a_browser_cannot_make_a_servers_event_a_duplicate(place: Installation) -> None:
    taken = {"id": "booking-4711", "source": "outbox"}
    assert await place.pulse({"type": "click", **taken, "data": {"page": "/", "element": "button"}}) == 204
    assert await place.pulse(*[{"type": "click", **taken, "data": {"page": "/", "element": "link"}}] * 2) == 204
    booked = {"type": "class_booked", **taken, "data": {"class_type": "group", "channel": "web"}}
    assert (await place.serve(booked))["accepted"] == 1
    assert (await place.serve(booked))["duplicates"] == 1
    assert await place.value("class_bookings_total", class_type="group", channel="web") == 1
    assert len(place.exporter.parts.state.ids) == 1
    assert await place.value("rum_clicks_total", page="/", element="link") == 2


async def test_nobody_replaces_the_vitals_of_another_session(place: Installation) -> None:
    for session, score in (("one", 0.05), ("two", 0.3), ("one", 0.2)):
        vital = {"vital": "CLS", "page": "/", "rating": "good", "score": score}
        client = {"client": {"session": session, "page_id": session}}
        assert await place.pulse({"type": "web_vital", "id": "v", "data": vital}, batch=client) == 204
    place.time.now += 60
    place.exporter.tick()
    labels = {"page": "/", "device": "desktop"}
    assert await place.value("rum_cumulative_layout_shift_score_count", **labels) == 2
    assert await place.value("rum_cumulative_layout_shift_score_sum", **labels) == 0.5


# 3. No record can stop a restart.

SLOW = [
    "/" + "1" * 1990 + ".",
    "/" + "-1" * 990 + ".",
    "/" + "a1" * 900 + "é.",
    "/" + "%31" * 600 + "!",
    "/" + "_" * 1900 + ".",
]


@pytest.mark.parametrize("path", SLOW)
def test_a_path_is_matched_in_time_that_grows_with_its_length(path: str) -> None:
    began = time.process_time()
    for _ in range(20):
        assert guess(path) is None
        assert Templates(("/a/[id]", "/[x]/[y]/[...z]")).match(path) in {None, "/[x]/[y]/[...z]"}
    assert time.process_time() - began < 5  # the regular expression of old took hours for one


async def test_a_record_of_an_older_version_that_took_for_ever_is_replayed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Time(), lambda _seconds: None, 1 << 20)
    journal.rotate()
    event = {"type": "page_load", "data": {"page": SLOW[0], "navigation": "navigate", "total": 1}}
    record = Record(received=1_790_000_000.0, source="browser", body=json.dumps([event]).encode())
    journal.append(msgspec.msgpack.encode(record))
    journal.close()
    config = a_config(tmp_path, first_increment_hold=0, discover={"pages": 10, "routes": 10})
    place = Installation(tmp_path, Time(), config)
    await place.start()
    assert await place.value("rum_page_views_total", page="other", device="other", navigation="navigate") == 1
    await place.kill()


BOOKED = json.dumps([{"type": "class_booked", "data": {"class_type": "group", "channel": "web"}}]).encode()
GOOD = msgspec.msgpack.encode(Record(received=1_790_000_000.0, source="events", body=BOOKED))


def _spoilt(**changes: object) -> bytes:
    fields = {name: getattr(msgspec.msgpack.decode(GOOD, type=Record), name) for name in Record.__struct_fields__}
    return msgspec.msgpack.encode(list({**fields, **changes}.values()))


@pytest.mark.parametrize(
    "record",
    [
        b"\xc1",
        b"\x91" * 3000 + b"\xc0",
        _spoilt(body=b"{"),
        _spoilt(body=b"\xff"),
        _spoilt(body=b"[" * 5000),
        _spoilt(body=json.dumps([{}] * 20_000).encode()),
        _spoilt(source="a\x00b"),
        _spoilt(weight=10**9),
        _spoilt(weight=-1),
        _spoilt(received=float("inf")),
        _spoilt(received=-1.7e308),
        _spoilt(sequence=2**60),
        _spoilt(outside={"no such label": "x"}),
    ],
)
async def test_a_record_that_cannot_be_counted_is_set_aside_and_the_others_count(
    tmp_path: Path, record: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, Time(), lambda _seconds: None, 1 << 20)
    journal.rotate()
    for raw in (GOOD, record, GOOD):
        journal.append(raw)
    journal.close()
    place = Installation(tmp_path, Time(), a_config(tmp_path, first_increment_hold=0))
    await place.start()
    assert await place.value("class_bookings_total", class_type="group", channel="web") == 2
    assert await place.value("exporter_storage_errors_total", operation="recover") == 1
    assert "record 2 of the journal" in caplog.text
    aside = tmp_path / "set-aside.records"
    assert aside.read_bytes().endswith(record)
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    await place.kill()


# 4. Only what is counted is kept.


def floods() -> Iterator[dict[str, object]]:
    wide = "\U0001f600" * 2000
    for number in range(50):
        yield {
            "type": "web_vital",
            "id": f"{number}" + "\U0001f600" * 150,
            "source": "\U0001f600" * 200,
            "trace_id": "\U0001f600" * 200,
            "unknown": {"deep": [wide] * 3},
            "data": {"vital": "LCP", "page": "/" + wide[:1900], "device": wide, "rating": "good", "seconds": 1.0},
        }


async def test_a_browsers_batch_costs_little_however_large_it_is(place: Installation) -> None:
    events = list(floods())
    for number, event in enumerate(events):
        body = gzip.compress(json.dumps({"events": [event]}, ensure_ascii=False).encode())
        headers = {"Content-Encoding": "gzip", "X-Forwarded-For": f"9.9.{number}.1"}
        assert await place.post("/api/pulse", body, headers) == 204
    held = place.exporter.parts.state.pending.dump()
    assert len(held) == len(events)
    for _, vital in held:
        assert len(msgspec.json.encode(vital.event)) < 250
    assert len(place.journal()) < 500 * len(events)
    await place.exporter.save()
    assert place.folder is not None
    assert (place.folder / "state.snapshot").stat().st_size < 100_000 + 500 * len(events)
    tracemalloc.start()
    await place.restart()
    assert tracemalloc.get_traced_memory()[0] < 30_000_000
    tracemalloc.stop()
    assert len(place.exporter.parts.state.pending) == len(events)


async def test_what_is_personal_in_a_path_is_not_journaled(place: Installation) -> None:
    secret = "anna@example.com"
    for kind, data in (
        (
            "page_load",
            {"page": f"/courses/{secret}?x={secret}", "navigation": "navigate", "total": 1, "device": secret},
        ),
        ("click", {"page": f"/{secret}", "element": secret}),
        ("javascript_error", {"page": "/", "kind": secret}),
        ("form_submit", {"form": secret, "outcome": secret}),
    ):
        event = {"type": kind, "id": secret, "source": secret, "trace_id": secret, secret: secret, "data": data}
        assert await place.pulse(event, batch={"batch_id": secret, "client": {"session": secret}}) == 204
    assert secret.encode() not in place.journal()
    assert b"anna" not in place.journal()


OUTSIDE = (("page", 3), ("device", 10))  # of the views below


async def test_a_replay_counts_what_was_counted(tmp_path: Path) -> None:
    config = a_config(tmp_path, first_increment_hold=0, discover={"pages": 3})
    place = Installation(tmp_path, Time(), config)
    await place.start()
    for page in (
        "/courses/42?x=1",
        "/lessons/42",
        "/lessons/[id]",
        "/other",
        "other",
        "/x y",
        "/a/b/c",
        "/one",
        "/two",
        "",
    ):
        view = {"page": page, "navigation": "navigate", "total": 1, "device": "fridge"}
        assert await place.pulse({"type": "page_load", "data": view}) == 204
    pattern = re.compile(r"^(?:rum_page|exporter_label_overflow|exporter_events_accepted).*", re.MULTILINE)
    before = pattern.findall(await place.text())
    assert any('page="/lessons/[id]"' in line and line.endswith(" 2.0") for line in before)
    assert {f'exporter_label_overflow_total{{label="{label}"}} {n}.0' for label, n in OUTSIDE} <= set(before)
    await place.restart()
    assert pattern.findall(await place.text()) == before
    await place.kill()


async def test_a_restart_makes_no_room_for_more_values(tmp_path: Path) -> None:
    config = a_config(tmp_path, first_increment_hold=0, discover={"pages": 2})
    place = Installation(tmp_path, Time(), config)
    await place.start()
    for pages in (("/one", "/two"), ("/three", "/one"), ("/four",)):
        for page in pages:
            view = {"page": page, "navigation": "navigate", "total": 1}
            assert await place.pulse({"type": "page_load", "data": view}) == 204
        await place.exporter.save()
        for path in [path for path in _files(tmp_path) if path.suffix == ".journal"][:-1]:
            path.unlink()  # nothing but the snapshot knows of them
        await place.restart()
    shown = re.findall(r'^rum_page_views_total\{.*page="([^"]*)".*\} (.*)$', await place.text(), re.MULTILINE)
    assert sorted(shown) == [("/one", "2.0"), ("/two", "1.0"), ("other", "2.0")]
    await place.kill()


@pytest.mark.parametrize(
    "value_", ["/a/[...rest]", "/a/[id]", "/a/<int:n>", "/a/7", "/b", "/b/:x?", "other", "/c/42", "/c/[id]", "/d e"]
)
def test_a_label_folded_twice_is_the_same(value_: str) -> None:
    label = Label(
        "page", "page", "page", ("/a/[id]", "/a/[...rest]", "/a/<int:n>", "/b/:x?", "/[any]"), "pages", 5, paths=True
    )
    discovered: dict[str, None] = {}
    once, _ = LabelValues(label, discovered)(value_)
    assert LabelValues(label, discovered)(once) == (once, False)
    assert LabelValues(label, {})(once)[0] == once  # at a replay nothing has been discovered yet


# 5. Budgets.


@pytest.mark.parametrize("path", ["/api/pulse", "/api/report"])
async def test_another_line_of_x_forwarded_for_is_no_other_client(path: str) -> None:
    limits = Limit(client_rate=1, client_burst=3)
    config = msgspec.structs.replace(a_config(), limits=limits, sentry=TunnelSettings(dsns=(DSN,)))
    async with TestClient(BoundedServer(an_application(an_exporter(Time(), config)))) as client:
        statuses = []
        for number in range(6):
            # The proxy adds a line of its own below the client's claim.
            lines = [("X-Forwarded-For", f"10.{number}.1.1"), ("X-Forwarded-For", "203.0.113.5")]
            async with client.post(path, data=b'{"events":[]}', headers=[*BROWSER.items(), *lines]) as answer:
                statuses.append(answer.status)
        assert 429 not in statuses[:3]
        assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["1.1.1.1", "2.2.2.2"], "2.2.2.2"),
        (["1.1.1.1, 2.2.2.2", "127.0.0.9"], "2.2.2.2"),
        (["1.1.1.1", "2.2.2.2, 127.0.0.9", "127.0.0.8"], "2.2.2.2"),
        (["1.1.1.1", ""], "1.1.1.1"),
        (["1.1.1.1", "nonsense"], "127.0.0.1"),
        ([], "127.0.0.1"),
        (["9.9.9.9, " * 5000, "127.0.0.2, " * 500], "127.0.0.2"),
    ],
)
def test_all_lines_are_read_from_right_to_left(lines: list[str], address: str) -> None:
    assert Clients(("127.0.0.0/8",)).address("127.0.0.1", lines) == address


@pytest.mark.parametrize(("prefix", "most"), [("2001:db8:7:{:x}::1", 4), ("2001:db8:{:x}::1", 16)])
def test_a_whole_ipv6_prefix_has_a_budget_and_others_keep_theirs(prefix: str, most: int) -> None:
    clients, limiter, passed = Clients(("127.0.0.0/8",)), Limiter(20, 300, 2000, 10_000, 0.0), 0
    for number in range(2000):
        networks = clients.networks("127.0.0.1", [prefix.format(number % 256 * 256 if most == 4 else number)])
        for _ in range(4):
            if not limiter.wait(networks, 1.0):
                limiter.take(networks, 100, 1.0)
                passed += 100
    assert passed <= most * 300 + 200
    for other in ("203.0.113.5", "2003:db8::1"):
        assert limiter.wait(clients.networks("127.0.0.1", [other]), 1.0) == 0


def test_the_quiet_have_a_share_that_the_loud_cannot_take() -> None:
    limiter, passed = Limiter(20, 300, 2000, 10_000, 0.0), 0
    loud = [(f"10.0.{number}",) for number in range(40)]  # their bursts together are more than that of all
    for network in loud * 3:
        if not limiter.wait(network, 1.0):
            limiter.take(network, 100, 1.0)
            passed += 100
    assert passed <= 10_000 - 2000
    for number in range(20):
        quiet = (f"198.51.{number}",)
        assert limiter.wait(quiet, 1.0) == 0
        limiter.take(quiet, 50, 1.0)


@pytest.mark.parametrize(
    ("path", "source"), [("/api/pulse", "browser"), ("/api/events", "events"), ("/api/rum/vitals", "vitals")]
)
async def test_a_body_that_does_not_come_in_time_is_a_408_and_counted(
    place: Installation, monkeypatch: pytest.MonkeyPatch, path: str, source: str
) -> None:
    impatient = functools.partial(read_body, deadline=0.01)
    for module in (browser_events, server_events):
        monkeypatch.setattr(module, "read_body", impatient)
    reader, writer = await asyncio.open_connection(place.client.host, place.client.port)
    headers = "".join(f"{name}: {text}\r\n" for name, text in {**BROWSER, **TOKEN}.items())
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: 100\r\n\r\n{{".encode())
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()
    assert await place.value("exporter_events_rejected_total", source=source, reason="too_slow") == 1


@pytest.mark.parametrize("path", ["/api/pulse", "/api/events", "/api/rum/vitals"])
@pytest.mark.parametrize("length", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_who_leaves_in_the_middle_of_a_body_is_counted_and_no_error_of_ours(
    place: Installation, path: str, length: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection(place.client.host, place.client.port)
    headers = "".join(f"{name}: {text}\r\n" for name, text in {**BROWSER, **TOKEN}.items())
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}".encode() + length + b"\r\n\r\n9\r\n{")
    await place.text()  # the half body has been read by now, as it came first
    writer.transport.abort()
    source = {"/api/pulse": "browser", "/api/events": "events"}.get(path, "vitals")
    async with asyncio.timeout(30):
        while await place.value("exporter_events_rejected_total", source=source, reason="bad_encoding") != 1:
            pass
    assert "Traceback" not in caplog.text


async def test_slow_bodies_of_one_network_leave_the_sentry_tunnel_open(sentry_place: Installation) -> None:
    place = sentry_place
    writers = []
    for number in range(100):
        _, writer = await asyncio.open_connection(place.client.host, place.client.port)
        writer.write(
            b"POST /api/report HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.%d\r\nContent-Length: 1000\r\n\r\n{"
            % (number % 250)
        )
        writers.append(writer)
    await place.text()  # all have been read by now, as they came first
    body = b'{"dsn":"https://evil@sentry.invalid/7"}\n{"type":"event"}\n{}\n'
    assert await place.post("/api/report", body, {"X-Forwarded-For": "198.51.100.5"}) == 403
    assert await place.value("sentry_tunnel_items_total", item="other", outcome="dropped_budget") == 100 - 16
    for writer in writers:
        writer.close()


@pytest.fixture
async def sentry_place() -> AsyncIterator[Installation]:
    config = msgspec.structs.replace(a_config(first_increment_hold=0), sentry=TunnelSettings(dsns=(DSN,)))
    installation = Installation(None, Time(), config)
    await installation.start()
    yield installation
    await installation.kill()


async def test_who_makes_an_event_stand_for_many_pays_for_all(place: Installation) -> None:
    view = {"type": "page_load", "data": {"page": "/", "navigation": "navigate", "total": 1}}
    assert await place.pulse(view, batch={"client": {"sample": 1000}}) == 400
    assert await place.pulse(*[view] * 100, batch={"client": {"sample": 10}}) == 204
    assert await place.pulse(view) == 429
    report = {"type": "client_report", "data": {"reason": "queue_overflow", "count": 10_000}}
    assert await place.pulse(report, address="198.51.100.5") == 204
    assert await place.pulse(view, address="198.51.100.5") == 429
    place.time.now += 400
    report["data"] = {"reason": "queue_overflow", "count": 1_000_000}
    assert await place.pulse(report, address="192.0.2.5") == 400
    assert await place.value("rum_client_dropped_events_total", reason="queue_overflow") == 10_000
    labels = {"page": "/", "device": "desktop", "navigation": "navigate"}
    assert await place.value("rum_page_views_total", **labels) == 1000


async def test_a_report_costs_as_much_as_it_counts(place: Installation) -> None:
    burst = int(a_config().limits.client_burst)
    report = {"type": "client_report", "data": {"reason": "queue_overflow", "count": burst - 1}}
    view = {"type": "page_load", "data": {"page": "/", "navigation": "navigate", "total": 1}}
    assert await place.pulse(report, address="198.51.100.5") == 204
    assert [await place.pulse(view, address="198.51.100.5") for _ in range(2)] == [204, 429]


def test_who_has_spent_a_budget_gets_no_new_one_while_many_others_come() -> None:
    limiter = Limiter(20, 300, 1e9, 1e9, 0.0)
    loud = ("10.0.0",)
    limiter.take(loud, 10_000, 0.0)
    for number in range(CLIENTS + 1):
        assert limiter.wait((f"198.51.{number}",), 1.0) == 0
    assert limiter.wait(loud, 1.0) > 0
    assert len(limiter) <= 2 * CLIENTS


async def test_browsers_may_not_send_database_queries_unless_they_are_allowed() -> None:
    query = {"type": "db_query", "data": {"operation": "select", "table": "users", "duration": 3000}}
    legacy = json.dumps({"type": "database_query", "data": {"query": "SELECT 1 FROM users", "duration": 3000}}).encode()
    for refuse, status in ((("db_query",), 400), ((), 204)):
        browser = msgspec.structs.replace(the_example()[0].browser, refuse=refuse)
        place = Installation(None, Time(), a_config(first_increment_hold=0, browser=browser))
        await place.start()
        assert await place.pulse(query) == status
        assert await place.post("/api/metrics", legacy, {}) == status
        await place.kill()
    assert Browser().refuse == ("db_query",)


async def test_a_query_that_is_refused_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(legacy_browser, "statement", read.append)
    query = json.dumps({"type": "database_query", "data": {"query": "(" * 9000, "duration": 5}}).encode()
    place = Installation(None, Time(), a_config())
    await place.start()
    assert await place.post("/api/metrics", query, {}) == 400
    assert read == []
    await place.kill()


@pytest.mark.parametrize("batches", [1, 3])
def test_a_page_cannot_claim_that_millions_of_batches_were_lost(batches: int) -> None:
    sessions = Sessions()
    for _ in range(batches):
        sessions.seen(1, 1_000_000, 0, 0.0)
    assert sessions.ended(PAGE_TIMEOUT).lost == 10 * batches


@pytest.mark.parametrize(
    "sent_at",
    [
        -1.7e308,
        1.7e308,
        0,
        1e14,
        -1,
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00",
        "2026-01-01T00:00:00",
    ],
)
@pytest.mark.parametrize("time_", [None, 0, 1e14, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_a_clock_of_a_sender_moves_no_sum_far(place: Installation, sent_at: object, time_: object) -> None:
    event = {**CALL, **({} if time_ is None else {"time": time_})}
    assert await place.pulse(event, batch={"sent_at": sent_at}) in {204, 400}
    async with place.client.post("/api/events", json={"sent_at": sent_at, "events": [event]}, headers=TOKEN) as answer:
        assert answer.status in {202, 400}
    for name, labels in (
        ("exporter_client_clock_skew_seconds_sum", {}),
        ("exporter_event_age_seconds_sum", {"source": "browser"}),
        ("exporter_event_age_seconds_sum", {"source": "events"}),
    ):
        assert (await place.value(name, **labels) or 0) <= 2 * 8 * 86_400


def test_a_client_report_to_sentry_counts_no_more_than_it_may() -> None:
    entries = [{"reason": "ratelimit_backoff", "quantity": 10**9}] * 500
    assert sum(n for _, n in discarded(json.dumps({"discarded_events": entries}).encode())) == 10_000


# 6. Passwords, pages of other sites, files and origins.


def _login(user: str, password: str) -> web.Request:
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return make_mocked_request("GET", "/metrics", headers={"Authorization": f"Basic {basic}"})


async def test_a_flood_of_wrong_passwords_is_cut_and_holds_up_no_other_thread() -> None:
    auth = BasicAuth({"prometheus": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(12)).decode()})
    flood = [asyncio.ensure_future(auth.refuse(_login("prometheus", f"wrong {number}"))) for number in range(200)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "a sync of the journal"), 30) == "a sync of the journal"
    assert not all(task.done() for task in flood)
    statuses = [answer.status for answer in await asyncio.gather(*flood) if answer is not None]
    assert sorted(set(statuses)) == [401, 429]
    assert statuses.count(401) == 4  # of one peer; each is a quarter of a second of a core
    assert await auth.refuse(_login("prometheus", "open sesame")) is None


@pytest.mark.parametrize("password", ["", "\x00", "a\x00b", "x" * 5000, "é" * 100])
async def test_no_password_is_too_strange(password: str) -> None:
    auth = BasicAuth({"prometheus": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()})
    answer = await auth.refuse(_login("prometheus", password))
    assert answer is not None
    assert answer.status == 401


async def test_an_unknown_user_is_answered_as_slowly_as_a_known_one() -> None:
    auth = BasicAuth({"prometheus": bcrypt.hashpw(b"open sesame", bcrypt.gensalt(11)).decode()})
    users = ("prometheus", "nobody")
    answers = [await auth.refuse(_login(user, "wrong")) for user in users]
    assert [answer.status for answer in answers if answer is not None] == [401, 401]
    assert [await _bcrypt_cost(auth, user) for user in users] == [11, 11]


async def _bcrypt_cost(auth: BasicAuth, user: str) -> int:
    return int(auth._stored(user.encode()).split("$")[2])  # noqa: SLF001  # what decides how long it takes


@pytest.mark.parametrize("path", ["/", "/metrics", "/openapi.json", "/-/reload", "/%6fpenapi.json"])
async def test_what_describes_the_exporter_needs_the_password(path: str) -> None:
    example, catalogue = the_example()
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    exporter = Exporter(
        Settings(msgspec.structs.replace(example, storage=a_config().storage), catalogue, None, {"p": hashed})
    )
    async with TestClient(BoundedServer(an_application(exporter))) as client:
        method = "POST" if path == "/-/reload" else "GET"
        async with client.request(method, path) as answer:
            assert answer.status == 401
        basic = "Basic " + base64.b64encode(b"p:open sesame").decode()
        async with client.request(method, path, headers={"Authorization": basic}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://127.0.0.1:3001", "Host": "127.0.0.1:3001", "Sec-Fetch-Site": "same-origin"}, 403),
    ],
)
async def test_a_page_of_a_site_cannot_reload(place: Installation, headers: dict[str, str], status: int) -> None:
    async with place.client.post("/-/reload", headers=headers) as answer:
        assert answer.status == status


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file()]


async def test_what_is_on_disk_is_for_the_exporter_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("")
    (tmp_path / "lock").chmod(0o644)
    place = Installation(tmp_path, Time(), a_config(tmp_path))
    await place.start()
    await place.serve(REQUEST)
    await place.exporter.save()
    await place.serve(REQUEST)
    (tmp_path / "state.snapshot").chmod(0o644)  # as earlier versions left it
    await place.restart()
    files = _files(tmp_path)
    assert {path.name for path in files} >= {"state.snapshot", "key", "lock"}
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {path.name: 0o600 for path in files}
    await place.kill()


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://app.heypeteracademy.com", "m.example", True),
        ("https://APP.HeyPeterAcademy.com:443", "m.example", True),
        ("http://app.heypeteracademy.com", "m.example", False),
        ("https://app.heypeteracademy.com:8443", "m.example", False),
        ("https://app.heypeteracademy.com.evil.example", "m.example", False),
        ("https://shop.example", "shop.example", True),
        ("https://shop.example", "shop.example:443", True),
        ("https://shop.example", "SHOP.Example", True),
        ("https://Shop.example", "shop.example:443", True),
        ("https://shop.example:443", "shop.example", True),
        ("http://shop.example", "shop.example:80", True),
        ("https://shop.example", "shop.example:80", True),  # a proxy that ends TLS
        ("http://localhost:3001", "localhost:3001", True),
        ("http://[::1]:3001", "[::1]:3001", True),
        ("https://shop.example:8443", "shop.example", False),
        ("https://shop.example", "shop.example:8443", False),
        ("http://shop.example:81", "shop.example:80", False),
        ("evil://shop.example", "shop.example", False),
        ("javascript://shop.example", "shop.example", False),
        ("://shop.example", "shop.example", False),
        ("https://shop.example/", "shop.example/", False),
        ("https://a@shop.example", "a@shop.example", False),
        ("https://shop.example\n", "shop.example", False),
        ("https://shop.example:99999999", "shop.example:99999999", False),
        ("https://", "", False),
        ("null", "null", False),
        ("", "", False),
        ("https://" + "a" * 10_000, "a" * 10_000, False),
    ],
)
def test_origins(origin: str, host: str, allowed: bool) -> None:
    assert Origins((ORIGIN,)).allow(origin, host) == allowed


@pytest.mark.parametrize(
    "origin",
    ["evil://host", "https://a/b", "https://a@b", "https://*.example", "https://a b", "https://é.example", "null"],
)
def test_an_origin_in_the_configuration_is_one(origin: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"browser": {"origins": [origin]}}, Config)


@pytest.mark.parametrize("seed", range(3))
async def test_garbage_on_every_path_is_answered(place: Installation, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # a body, no secret
    bodies = [
        b"[" * 5000,
        b'{"events":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"a":' * 1500 + b"1" + b"}" * 1500,
        b'{"type":"api_call","data":' + b"[" * 4000,
        b'{"events":[{"type":"click","data":{"page":"/","element":' + b"[" * 2000 + b"]" * 2000 + b"}}]}",
        b"1" * 5000,
        b'{"sent_at":' + b"9" * 5000 + b"}",
        b'{"metric":"LCP","value":-' + b"9" * 400 + b"}",
        b"\xed\xa0\x80",
        chance.randbytes(2000),
    ]
    for path in ("/api/pulse", "/api/metrics", "/api/rum/vitals", "/api/rum/events", "/api/events"):
        for body in bodies:
            for kind in (
                {},
                {"Content-Type": "application/json; charset=nonsense"},
                {
                    "ce-specversion": "1.0",
                    "ce-id": "1",
                    "ce-source": "s",
                    "ce-type": "click",
                    "Content-Type": "application/json",
                },
                {"Content-Type": "application/cloudevents+json"},
            ):
                network = f"{chance.randrange(1, 224)}.{chance.randrange(256)}.{chance.randrange(256)}.1"
                headers = {**TOKEN, **kind, "X-Forwarded-For": network}
                assert await place.post(path, body, headers) == 400


async def test_a_referer_that_another_site_cut_to_its_origin_is_no_page(place: Installation) -> None:
    own = f"http://{place.client.host}:{place.client.port}"
    click = b'{"type":"click","data":{"element":"A"}}'
    for origin, page in ((ORIGIN, "other"), (own, "/")):
        assert await place.post("/api/rum/events", click, {"Origin": origin, "Referer": f"{origin}/"}) == 204
        assert await place.value("rum_clicks_total", page=page, element="link") == 1


@pytest.mark.parametrize("referer", ["http://[::1/x", "http://[x]/", "//[", "http://a:b:c", "é", "x" * 5000])
async def test_no_referer_is_too_strange(place: Installation, referer: str) -> None:
    click = b'{"type":"click","data":{"element":"A"}}'
    for origin in (ORIGIN, f"http://{place.client.host}:{place.client.port}"):
        assert await place.post("/api/rum/events", click, {"Origin": origin, "Referer": referer}) == 204
