"""Envelopes as Sentry's documentation shows them, as SDKs write them, and as nobody should."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.sentry_tunnel.dsn import TunnelSettings, endpoints
from exporter.sentry_tunnel.envelope import ITEMS, Envelope, EnvelopeError, discarded, level, scan

DSN = "https://e12d836b15bb49d7bbf99e64295d995b@sentry.io/42"
HEAD = b'{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","dsn":"' + DSN.encode() + b'"}'
DEEP = b"[" * 100_000


def contents(envelope: Envelope) -> list[tuple[str, bytes]]:
    return [(item.type, envelope.payload(item)) for item in envelope.items]


# The serialization examples of develop.sentry.dev/sdk/foundations/transport/envelopes/, each with a dsn.
@pytest.mark.parametrize(
    ("body", "items"),
    [
        (HEAD, []),
        (HEAD + b"\n", []),
        (
            HEAD + b'\n{"type":"attachment","length":10,"filename":"hello.txt"}\n\xef\xbb\xbfHello\r\n'
            b'\n{"type":"event","length":41,"content_type":"application/json","filename":"application.log"}\n'
            b'{"message":"hello world","level":"error"}\n',
            [("attachment", b"\xef\xbb\xbfHello\r\n"), ("event", b'{"message":"hello world","level":"error"}')],
        ),
        (
            HEAD + b'\n{"type":"attachment","length":0}\n\n{"type":"attachment","length":0}\n\n',
            [("attachment", b""), ("attachment", b"")],
        ),
        (
            HEAD + b'\n{"type":"attachment","length":0}\n\n{"type":"attachment","length":0}',
            [("attachment", b""), ("attachment", b"")],
        ),
        (HEAD + b'\n{"type":"attachment"}\nhelloworld\n', [("attachment", b"helloworld")]),
        (HEAD + b'\n{"type":"attachment"}\nhelloworld', [("attachment", b"helloworld")]),
        (HEAD + b'\n{"type":"attachment"}\n', [("attachment", b"")]),
        (HEAD + b'\n{"type":"attachment"}', [("attachment", b"")]),
        (HEAD + b'\n{"type":"session"}\n{"started": "2020"}', [("session", b'{"started": "2020"}')]),
        # Unknown types are kept, and a payload with a length may have newlines and more headers in it.
        (
            HEAD + b'\n{"type":"unheard_of","length":27}\n\n{"type":"event"}\n{"a":1}\n\n\n',
            [("unheard_of", b'\n{"type":"event"}\n{"a":1}\n\n')],
        ),
    ],
)
def test_the_documented_envelopes_are_read(body: bytes, items: list[tuple[str, bytes]]) -> None:
    envelope = scan(body)
    assert (envelope.dsn, contents(envelope)) == (DSN, items)
    assert envelope.only(envelope.items) == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"{}",
        b"[]",
        b"null",
        b'"' + DSN.encode() + b'"',
        b"\xff" + HEAD,
        HEAD[:-1],
        b'{"dsn":null}',
        b'{"dsn":42}',
        b'{"dsn":["' + DSN.encode() + b'"]}',
        b'{"dsn":{"toString":"' + DSN.encode() + b'"}}',
        b'{"dsn":"\xff"}',
        b'{"x":' + DEEP + b"}",
        b'{"dsn":"a","x":"' + b"x" * 70_000 + b'"}',
        HEAD + b"\n\n",
        HEAD + b"\n{}\nx",
        HEAD + b'\n{"type":""}\nx',
        HEAD + b'\n{"type":7}\nx',
        HEAD + b'\n{"type":"event","x":' + DEEP + b"}\n{}",
        HEAD + b'\n{"type":"event","length":-1}\n{}',
        HEAD + b'\n{"type":"event","length":3}\n{}',
        HEAD + b'\n{"type":"event","length":4}\n{}\n',
        HEAD + b'\n{"type":"event","length":1}\n{}\n',
        HEAD + b'\n{"type":"session","length":1}\nxx{"type":"session"}\n{}',
        HEAD + b'\n{"type":"event","length":"2"}\n{}\n',
        HEAD + b'\n{"type":"event","length":' + b"9" * 400 + b"}\n{}\n",
        HEAD + b'\n{"type":"event"}\n{}' * 2,
        HEAD + b'\n{"type":"event"}\n{}\n{"type":"transaction"}\n{}',
        HEAD + b'\n{"type":"session"}\n{}' * 1001,
    ],
)
def test_what_is_no_envelope_is_refused_without_being_repeated(body: bytes) -> None:
    with pytest.raises(EnvelopeError) as caught:
        scan(body)
    assert "sentry.io" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(
    st.binary()
    | st.binary().map(lambda tail: HEAD + b"\n" + tail)
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
)
@example(b'{"dsn":"\\ud800"}')
def test_arbitrary_bytes_are_an_envelope_or_an_error(body: bytes) -> None:
    try:
        envelope = scan(body)
    except EnvelopeError:
        return
    assert isinstance(envelope.dsn, str)
    assert all(item.begin <= item.payload <= item.end <= len(body) for item in envelope.items)
    assert all(item.label in ITEMS for item in envelope.items)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
OTHER_KEYS = st.dictionaries(st.text().filter(lambda key: key not in {"dsn", "type", "length"}), JSON, max_size=3)
TYPE = st.sampled_from([kind for kind in ITEMS if kind not in {"event", "transaction"}]) | st.text(min_size=1)


@st.composite
def an_item(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    kind = draw(TYPE.filter(lambda kind: kind not in {"event", "transaction"}))
    with_length = draw(st.booleans())
    payload = draw(st.binary() if with_length else st.binary().filter(lambda data: b"\n" not in data))
    length = {"length": len(payload)} if with_length else {}
    header = json.dumps({**draw(OTHER_KEYS), "type": kind, **length}, ensure_ascii=draw(st.booleans()))
    return kind, header.encode("utf-8", "surrogatepass"), payload


def written(head: bytes, items: list[tuple[str, bytes, bytes]]) -> bytes:
    return b"\n".join((head, *(header + b"\n" + payload for _, header, payload in items)))


@given(st.lists(an_item(), max_size=6), st.sampled_from([b"", b"\n"]), st.data())
def test_any_envelope_round_trips_whole_and_in_part(
    items: list[tuple[str, bytes, bytes]], end: bytes, data: st.DataObject
) -> None:
    body = written(HEAD, items) + end
    envelope = scan(body)
    assert contents(envelope) == [(kind, payload) for kind, _, payload in items]
    assert envelope.only(envelope.items) == body
    keep = data.draw(st.sets(st.integers(0, max(len(items) - 1, 0))))
    kept = [item for index, item in enumerate(envelope.items) if index in keep]
    again = envelope.only(kept)
    assert contents(scan(again)) == [(item.type, envelope.payload(item)) for item in kept]
    if len(kept) < len(items):
        assert again == written(HEAD, [item for index, item in enumerate(items) if index in keep])


def test_a_header_without_a_newline_gets_one_when_something_else_is_cut_off_before_it() -> None:
    envelope = scan(HEAD + b'\n{"type":"session"}\n{}\n{"type":"attachment","length":0}')
    assert envelope.only(envelope.items[1:]) == HEAD + b'\n{"type":"attachment","length":0}\n'


@pytest.mark.parametrize(
    ("kind", "label", "category"),
    [
        ("event", "event", "error"),
        ("transaction", "transaction", "transaction"),
        ("sessions", "sessions", "session"),
        ("client_report", "client_report", "internal"),
        ("replay_event", "replay_event", "replay"),
        ("replay_recording", "replay_recording", "replay"),
        ("profile_chunk", "profile", "profile"),
        ("log", "log", "log_item"),
        ("trace_metric", "other", "trace_metric"),
        ("check_in", "check_in", "monitor"),
        ("<script>", "other", "<script>"),
        ("other", "other", "other"),
    ],
)
def test_types_have_labels_of_a_closed_set_and_categories_of_sentry(kind: str, label: str, category: str) -> None:
    (item,) = scan(HEAD + b"\n" + json.dumps({"type": kind}).encode() + b"\n{}").items
    assert (item.label, item.category) == (label, category)


def test_attachments_and_profiles_go_where_their_event_goes() -> None:
    event, attachment, feedback, profile = scan(
        HEAD + b'\n{"type":"event"}\n{}\n{"type":"attachment"}\nx\n{"type":"feedback"}\n{}\n{"type":"profile"}\n{}'
    ).items
    envelope = scan(HEAD + b'\n{"type":"transaction"}\n{}\n{"type":"attachment"}\nx\n{"type":"profile"}\n{}')
    transaction = envelope.items[0]
    assert envelope.dependants(transaction) == list(envelope.items[1:])
    whole = scan(
        HEAD + b'\n{"type":"event"}\n{}\n{"type":"attachment"}\nx\n{"type":"feedback"}\n{}\n{"type":"profile"}\n{}'
    )
    assert (whole.dependants(event), whole.dependants(attachment)) == ([attachment], [])
    assert whole.dependants(feedback) == whole.dependants(profile) == []


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"level":"warning"}', "warning"),
        (b'{"message":"no level"}', "error"),
        (b'{"extra":{"level":"warning"},"level":"info"}', "info"),
        (b'{"extra":{"level":"warning"}}', "error"),
        (b'{"level":null}', ""),
        (b'{"level":"warn', ""),
        (b"", ""),
        (b"\xff", ""),
        (b'{"x":' + DEEP, ""),
    ],
)
def test_the_level_is_that_of_the_event_and_of_nothing_in_it(payload: bytes, expected: str) -> None:
    assert level(payload) == expected


def test_client_reports_are_read_in_our_words() -> None:
    reasons = {
        "ratelimit_backoff": "rate_limited",
        "queue_overflow": "queue_overflow",
        "network_error": "network_error",
        "send_error": "network_error",
        "sample_rate": "sample_rate",
        "before_send": "before_send",
        "internal_sdk_error": "other",
        "a new one": "other",
    }
    entries: list[dict[str, Any]] = [{"reason": reason, "category": "error", "quantity": 3} for reason in reasons]
    report = json.dumps({"timestamp": 1_790_000_000.5, "discarded_events": entries}).encode()
    assert discarded(report) == [(reason, 3) for reason in reasons.values()]


def test_no_client_report_can_count_without_bound() -> None:
    entries = [{"reason": "before_send", "quantity": 2**60}] * 5000
    reasons = discarded(json.dumps({"discarded_events": entries}).encode())
    assert sum(n for _, n in reasons) == 10_000


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"discarded_events":[{"reason":"x","quantity":-1}]}')
@example(b'{"discarded_events":' + DEEP)
def test_arbitrary_payloads_never_raise(payload: bytes) -> None:
    assert isinstance(level(payload), str)
    assert all(n >= 0 for _, n in discarded(payload))


@pytest.mark.parametrize(
    ("dsn", "base", "url"),
    [
        ("https://abc@o1.ingest.sentry.io/42", "", "https://o1.ingest.sentry.io/api/42/envelope/?sentry_version=7&sentry_key=abc"),
        ("http://abc@localhost:9000/1", "", "http://localhost:9000/api/1/envelope/?sentry_version=7&sentry_key=abc"),
        ("https://abc@example.com/sentry/eu/7", "", "https://example.com/sentry/eu/api/7/envelope/?sentry_version=7&sentry_key=abc"),
        ("https://abc@[::1]:9000/7", "", "https://[::1]:9000/api/7/envelope/?sentry_version=7&sentry_key=abc"),
        ("https://abc@o1.ingest.sentry.io/42", "http://relay:3000/", "http://relay:3000/api/42/envelope/?sentry_version=7&sentry_key=abc"),
    ],
)  # fmt: skip
def test_the_url_of_a_project_follows_from_its_dsn(dsn: str, base: str, url: str) -> None:
    assert endpoints(TunnelSettings(dsns=(dsn,), upstream={dsn: base} if base else {})) == {dsn: url}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dsns": ["sentry.io/42"]}, "https://KEY@HOST/PROJECT"),
        ({"dsns": ["https://key:secret@sentry.io/42"]}, "remove the secret"),
        ({"dsns": ["https://key@sentry.io/project"]}, "https://KEY@HOST/PROJECT"),
        ({"dsns": ["https://key@sentry.io/42?x=1"]}, "https://KEY@HOST/PROJECT"),
        ({"dsns": ["ftp://key@sentry.io/42"]}, "https://KEY@HOST/PROJECT"),
        ({"upstream": {DSN: "http://relay"}}, "not in dsns"),
        ({"dsns": [DSN], "upstream": {DSN: "relay:3000"}}, "base URL"),
        ({"dsns": [DSN], "upstream": {DSN: "http://user:pass@relay"}}, "base URL"),
        ({"max_bodies": 1}, "unknown field"),
        ({"drop_levels": ["warn"]}, "Invalid enum value"),
        ({"path": "report"}, "regex"),
        ({"path": "/{x}"}, "regex"),
        ({"max_in_flight": 0}, ">= 1"),
    ],
)
def test_settings_that_could_not_work_are_refused_at_the_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(settings, TunnelSettings)
    assert words in str(caught.value)
    assert "secret@" not in str(caught.value)
