"""Decoding: whatever arrives is events, or the named error, and nothing else."""

import contextlib
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.catalogue.route_templates import Templates
from exporter.config import load
from exporter.events import legacy_browser as browser
from exporter.events.decode import Batch, DecodeError, Decoder, Schema
from exporter.events.dedupe import SeenIds, fingerprint
from exporter.events.sql import statement
from exporter.events.vitals import CAPACITY, PendingVital, PendingVitals, key_of
from tests.exporter.example_exporter import EXAMPLE

CATALOGUE = load(EXAMPLE)[2]
SCHEMA = Schema(CATALOGUE)
DECODER = Decoder(SCHEMA.private(), 1000)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_names = sorted({field for event in CATALOGUE.events.values() for field in event.fields})
_data = st.dictionaries(st.sampled_from(_names), _json, max_size=6)
_event = st.fixed_dictionaries(
    {"type": st.sampled_from(sorted(CATALOGUE.events)) | st.text(), "data": _data | _json}, optional={"id": _json}
)


@given(_event | st.lists(_event) | st.fixed_dictionaries({"events": st.lists(_event)}) | _json)
def test_any_json_gives_a_batch_or_the_named_error(value: object) -> None:
    with contextlib.suppress(DecodeError):
        batch = DECODER.decode(json.dumps(value).encode())
        assert isinstance(batch, Batch)
        assert sorted({index for index, _ in batch.errors}) == [index for index, _ in batch.errors]
        for event in batch.events:
            for field in event.data.__struct_fields__:
                field_value = getattr(event.data, field)
                assert field in CATALOGUE.events[event.type].fields
                assert not (isinstance(field_value, float) and math.isnan(field_value))
                assert not isinstance(field_value, float) or 0 <= field_value <= 1e12


@given(st.binary(max_size=300))
def test_any_bytes_give_the_named_error_everywhere(body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        DECODER.decode(body)
    for decode in (browser.metric, browser.vital, lambda raw: browser.interaction(raw, "")):
        with contextlib.suppress(DecodeError):
            decode(body)


_kinds = ["page_load", "api_call", "database_query", "click", "form_submit", "javascript_error"]
_fields = ["page", "totalLoadTime", "duration", "endpoint", "status", "query", "element", "formId", "message", "reason"]


@given(
    st.fixed_dictionaries({"type": st.sampled_from(_kinds), "data": st.dictionaries(st.sampled_from(_fields), _json)})
)
def test_any_shape_from_a_browser_gives_an_event_or_the_named_error(value: object) -> None:
    body = json.dumps(value).encode()
    for decode in (browser.metric, lambda raw: browser.interaction(raw, "")):
        with contextlib.suppress(DecodeError):
            event = decode(body)
            made = SCHEMA.make(event.type, event.id, **event.data)
            assert DECODER.event(msgspec.json.encode(made)) == made


@pytest.mark.parametrize(
    ("query", "operation", "table"),
    [
        ("SELECT * FROM users WHERE id = 5", "select", "users"),
        ('  select 1 from "public"."Bookings" b', "select", "bookings"),
        ("INSERT INTO payments (a) VALUES ('secret from cellar')", "insert", "payments"),
        ("UPDATE `classes` SET x = 1", "update", "classes"),
        ("DELETE FROM sessions", "delete", "sessions"),
        ("WITH x AS (SELECT 1 FROM users) SELECT * FROM x", "select", "users"),
        ("BEGIN", "transaction", ""),
        ("CREATE TABLE t (id int)", "ddl", ""),
        ("EXPLAIN nonsense", "", ""),
    ],
)
def test_of_a_query_only_operation_and_table_survive(query: str, operation: str, table: str) -> None:
    assert statement(query) == (operation, table)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("", "/"),
        ("/courses", "/courses"),
        ("/courses/", "/courses"),
        ("/courses?x=/login", "/courses"),
        ("/courses/42", "/courses/[id]"),
        ("/courses/new", "/courses/new"),
        ("https://app.example.com/courses/42#top", "/courses/[id]"),
        ("/api/auth/a/b/c", "/api/auth/[...path]"),
        ("/courses/42/edit", None),
        ("/unknown", None),
        ("http://[bad", None),
        ("/" * 5000, "/"),
    ],
)
def test_paths_and_templates(path: str, template: str | None) -> None:
    templates = Templates(("/", "/courses", "/courses/[id]", "/courses/new", "/api/auth/[...path]"))
    assert templates.match(path) == template


def vital(number: int, value: float) -> PendingVital:
    data: dict[str, object] = {"vital": "LCP", "page": "/", "rating": "good", "seconds": value}
    return PendingVital(SCHEMA.make("web_vital", f"v5-{number}", **data), "browser", 1)


def test_the_last_value_of_a_vital_wins_once_it_is_quiet() -> None:
    pending = PendingVitals(timeout=30)
    pending.report(vital(1, 1), now=0)
    pending.report(vital(2, 5), now=10)
    pending.report(vital(1, 2), now=20)
    assert pending.final(now=39) == []
    assert pending.final(now=40) == [vital(2, 5)]
    assert pending.final(now=50) == [vital(1, 2)]


def test_a_flood_of_vitals_costs_bounded_memory_and_loses_none() -> None:
    pending = PendingVitals(timeout=30)
    let_go = [event for n in range(CAPACITY + 100) for event in pending.report(vital(n, n), now=0)]
    assert let_go == [vital(n, n) for n in range(100)]
    assert len(pending.final(now=31)) == CAPACITY


def test_ids_are_known_for_a_span_and_memory_is_bounded() -> None:
    seen = SeenIds(span=100, capacity=1000)
    seen.put(1, b"A", now=1000)
    assert seen.get(1, now=1100) == b"A"
    assert seen.get(1, now=1199) == b"A"
    assert seen.get(1, now=1200) is None
    for n in range(10_000):
        seen.put(n, b"N", now=1300)
    assert seen.get(9999, now=1300) == b"N"
    assert seen.get(0, now=1300) is None
    assert len(seen) <= 2000


def test_ids_that_had_to_go_early_are_told_and_no_others() -> None:
    seen = SeenIds(span=100, capacity=1000)
    assert not any(seen.put(n, b"", now=1000) for n in range(2000))
    assert seen.get(0, now=1000) == b""
    assert seen.put(2000, b"", now=1001)
    assert seen.get(0, now=1001) is None
    assert not any(seen.put(3000 + n, b"", now=1002) for n in range(999))
    assert seen.put(4000, b"", now=1003)
    # After its time, a generation is not missed.
    assert not any(seen.put(5000 + n, b"", now=1103) for n in range(1000))
    assert not any(seen.put(6000 + n, b"", now=1303) for n in range(1000))


def test_ids_are_those_of_their_source() -> None:
    assert fingerprint("a", "b") != fingerprint("ab", "")
    assert fingerprint("a", "b") != fingerprint("b", "a")
    assert fingerprint("s", "\ud800") == fingerprint("s", "\ud800")


def test_of_two_reports_at_the_same_time_ours_stays() -> None:
    pending = PendingVitals(timeout=30)
    ours = vital(1, 5)
    pending.report(ours, now=10)
    key = key_of(ours.event)
    pending.drop_before("another", 20)
    pending.drop_before(key, 10)
    assert len(pending) == 1
    pending.drop_before(key, 11)
    assert len(pending) == 0
