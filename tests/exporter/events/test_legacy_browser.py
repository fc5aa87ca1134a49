"""What the document's browser classes post: one part that cannot be does not lose the event."""

import json
from typing import Any

import pytest

from exporter.events import legacy_browser
from exporter.events.decode import DecodeError, Reason
from exporter.events.vitals import rating
from tests.exporter.events.test_event import DECODER, SCHEMA


def metric(kind: str, **data: object) -> legacy_browser.Fields:
    return legacy_browser.metric(json.dumps({"type": kind, "data": data}).encode())


@pytest.mark.parametrize(
    ("data", "expected", "left_out"),
    [
        ({"page": "/", "totalLoadTime": -1.1, "renderTime": None}, {"page": "/"}, 1),
        ({"page": "/", "totalLoadTime": 900, "loadComplete": -3}, {"page": "/", "total": 0.9}, 1),
        ({"page": "/", "totalLoadTime": -2, "domContentLoaded": 0, "loadComplete": 0}, {"page": "/"}, 1),
        (
            {"page": "/", "totalLoadTime": 0, "domContentLoaded": 0.5, "loadComplete": 0},
            {"page": "/", "dom_content_loaded": 0.0005},
            1,
        ),
        ({"page": "/", "totalLoadTime": -0.0, "loadComplete": -3}, {"page": "/"}, 2),
        ({"page": "/", "totalLoadTime": 900, "loadComplete": 0}, {"page": "/", "total": 0.9, "load_complete": 0}, 0),
        ({"page": "/", "totalLoadTime": 3_600_001}, {"page": "/"}, 1),
        ({"page": "/", "totalLoadTime": "900"}, {"page": "/"}, 1),
        ({"page": "/", "totalLoadTime": True}, {"page": "/"}, 1),
        ({"page": None, "totalLoadTime": 900}, {"page": "", "total": 0.9}, 0),
        ({"page": ["/"], "totalLoadTime": 900}, {"page": "", "total": 0.9}, 1),
        ({"page": "/" * 2001, "totalLoadTime": 900}, {"page": "", "total": 0.9}, 1),
        ({}, {"page": ""}, 0),
    ],
)
def test_a_page_view_counts_whatever_its_times(data: dict[str, Any], expected: dict[str, Any], left_out: int) -> None:
    load = metric("page_load", **data)
    assert (load.data, load.left_out) == (expected, left_out)
    SCHEMA.make(load.type, **load.data)


@pytest.mark.parametrize("duration", [None, -1, 1e9, "x", [], {}, False])
def test_a_call_and_a_query_count_without_a_time(duration: object) -> None:
    call = metric("api_call", endpoint="/api", method=7, status="error", duration=duration)
    assert call.data == {"endpoint": "/api", "method": "", "outcome": "failure", "duration": None}
    query = metric("database_query", query="select 1", duration=duration)
    assert query.data["duration"] is None
    for made in (call, query):
        SCHEMA.make(made.type, **made.data)


@pytest.mark.parametrize(
    ("report", "expected", "left_out"),
    [
        ({"metric": "CLS", "value": 250_500, "page": "/", "id": "v"}, {"rating": "poor", "score": 100}, 1),
        ({"metric": "CLS", "value": 1e300, "page": "/", "id": "v"}, {"rating": "poor", "score": 100}, 1),
        ({"metric": "LCP", "value": 1e12, "page": "/", "id": "v"}, {"rating": "poor", "seconds": 3600}, 1),
        # No float is as large: a division of it raises OverflowError.
        ({"metric": "LCP", "value": 10**400, "page": "/", "id": "v"}, {"rating": "poor", "seconds": 3600}, 1),
        ({"metric": "CLS", "value": 10**400, "page": "/", "id": "v"}, {"rating": "poor", "score": 100}, 1),
        ({"metric": "LCP", "value": 900, "page": "/", "id": "v"}, {"rating": "good", "seconds": 0.9}, 0),
        ({"metric": "LCP", "value": 900, "page": 5, "id": {}}, {"page": "", "rating": "good", "seconds": 0.9}, 2),
    ],
)
def test_a_vital_beyond_the_catalogue_is_its_most(
    report: dict[str, Any], expected: dict[str, Any], left_out: int
) -> None:
    vital = legacy_browser.vital(json.dumps(report).encode())
    assert vital.data == {"vital": report["metric"], "page": "/", **expected}
    assert vital.left_out == left_out
    SCHEMA.make(vital.type, vital.id, **vital.data)


@pytest.mark.parametrize("value", [None, -1, -(10**400), "1", True, [], {}])
def test_a_vital_without_a_value_is_refused(value: object) -> None:
    with pytest.raises(DecodeError):
        legacy_browser.vital(json.dumps({"metric": "LCP", "value": value, "page": "/"}).encode())


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Uncaught Error: boom", "Error"),
        ("Error: boom", "Error"),
        ("Uncaught (in promise) Error: boom", "Error"),
        ("Uncaught TypeError: x is not an Error", "TypeError"),
        ("uncaught exception: 5", ""),
        ("Script error.", ""),
        ({"name": "AxiosError", "message": "x"}, "AxiosError"),
        ({}, ""),
        (None, ""),
        (5, ""),
    ],
)
def test_the_class_of_an_error(message: object, kind: str) -> None:
    for event, field in (("javascript_error", "message"), ("unhandled_promise_rejection", "reason")):
        body = json.dumps({"type": event, "data": {field: message}}).encode()
        assert legacy_browser.interaction(body, "https://x/y").data == {"page": "https://x/y", "kind": kind}


_IN_AN_EXTENSION = "TypeError: x\n    at f (chrome-extension://abc/a.js:1:1)\n    at https://shop.example/a.js:1:1"


@pytest.mark.parametrize(
    "data",
    [
        {"message": "ResizeObserver loop limit exceeded", "source": "https://shop.example/", "line": 0},
        {"message": "ResizeObserver loop completed with undelivered notifications.", "source": ""},
        {"message": "Uncaught TypeError: x", "source": "chrome-extension://abc/a.js"},
        {"message": "TypeError: x", "source": "moz-extension://abc/a.js"},
        {"message": "TypeError: x", "source": "safari-web-extension://abc/a.js"},
        {"message": "Uncaught TypeError: x", "source": "", "stack": _IN_AN_EXTENSION},
        {},  # new Event("error") that the page sends to its window
    ],
)
def test_what_is_no_fault_of_the_page_is_noise(data: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as refused:
        legacy_browser.interaction(json.dumps({"type": "javascript_error", "data": data}).encode(), "https://x/y")
    assert refused.value.reason is Reason.NOISE


def test_an_error_that_passes_an_extension_is_the_pages() -> None:
    stack = "TypeError: x\n    at https://shop.example/a.js:1:1\n    at chrome-extension://abc/a.js:1:1"
    for data in ({"message": "TypeError: x", "stack": stack}, {"message": "", "source": ""}, {"message": 5}):
        legacy_browser.interaction(json.dumps({"type": "javascript_error", "data": data}).encode(), "https://x/y")


@pytest.mark.parametrize(
    ("referer", "cross_site", "page"),
    [
        ("https://shop.example/", True, ""),
        ("https://shop.example", True, ""),
        ("https://shop.example/a", True, "https://shop.example/a"),
        ("https://shop.example/", False, "https://shop.example/"),
        ("", True, ""),
        ("https://[::1/x", True, ""),
        ("https://[::1/x", False, "https://[::1/x"),
        ("https://[x]/", True, ""),
    ],
)
def test_a_referer_that_was_cut_to_its_origin_is_no_page(referer: str, cross_site: bool, page: str) -> None:
    body = json.dumps({"type": "click", "data": {"element": "A"}}).encode()
    assert legacy_browser.interaction(body, referer, cross_site=cross_site).data["page"] == page


@pytest.mark.parametrize(
    ("session", "expected", "left_out"), [("171-x", "171-x", 0), ("", "", 0), (5, "", 1), ("x" * 65, "", 1)]
)
def test_the_session_is_read(session: object, expected: str, left_out: int) -> None:
    body = json.dumps({"type": "click", "data": {"element": "A"}, "sessionId": session}).encode()
    click = legacy_browser.interaction(body, "https://x/y")
    assert (click.session, click.left_out) == (expected, left_out)


@pytest.mark.parametrize(
    ("vital", "good", "poor"),
    [
        ("LCP", 2500, 4000),
        ("INP", 200, 500),
        ("CLS", 0.1, 0.25),
        ("FCP", 1800, 3000),
        ("TTFB", 800, 1800),
        ("FID", 100, 300),
    ],
)
def test_a_bound_belongs_to_the_better_rating(vital: str, good: float, poor: float) -> None:
    above = 0.001
    values = (0, good, good + above, poor, poor + above)
    ratings = ["good", "good", "needs-improvement", "needs-improvement", "poor"]
    assert [rating(vital, value) for value in values] == ratings
    sent = [value * 1000 for value in values] if vital == "CLS" else values  # as the document's class sends it
    bodies = [json.dumps({"metric": vital, "value": value, "page": "/", "id": "v"}).encode() for value in sent]
    assert [legacy_browser.vital(body).data["rating"] for body in bodies] == ratings


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("number", [b"4900", b"4900.0", b"4.9e3", b"49000e-1"])
def test_a_whole_number_and_a_byte_order_mark(mark: bytes, number: bytes) -> None:
    data = b'{"provider": "stripe", "currency": "EUR", "amount": ' + number + b"}"
    event = b'{"type": "payment_completed", "data": ' + data + b"}"
    for body in (event, b"[" + event + b"]", b'{"events": [' + event + b"]}"):
        (made,) = DECODER.decode(mark + body).events
        assert made.data.amount == 4900
        assert isinstance(made.data.amount, int)


def test_a_whole_number_may_be_written_as_any_anywhere_in_a_batch() -> None:
    body = b'{"client": {"sequence": 3.0, "sample": 1e1}, "events": [{"type": "audit_entry", "count": 2.0}]}'
    batch = DECODER.decode(body)
    assert (batch.client.sequence, batch.client.sample, batch.events[0].count) == (3, 10, 2)
    for number in (b"3.5", b"1e300", b"-1.0"):
        with pytest.raises(DecodeError):
            DECODER.decode(body.replace(b"3.0", number))


def test_a_fraction_is_no_whole_number() -> None:
    with pytest.raises(DecodeError):
        DECODER.event(b'{"type": "payment_refunded", "data": {"currency": "EUR", "amount": 4900.5}}')


def test_a_time_that_the_browser_does_not_tell_is_no_time() -> None:
    report = {"metric": "TTFB", "value": 0, "page": "/"}
    # What web-vitals 2 gives where responseStart is 0; in later versions it is that of a page that was there at once.
    for version in ("v1-1665000000000-5", "v2-1665000000000-5"):
        with pytest.raises(DecodeError) as refused:
            legacy_browser.vital(json.dumps({**report, "id": version}).encode())
        assert (refused.value.reason, refused.value.field) == (Reason.VALUE_RANGE, "value")
        sound = legacy_browser.vital(json.dumps({**report, "id": version, "value": 1}).encode())
        assert sound.data["seconds"] == 0.001
        assert (
            legacy_browser.vital(json.dumps({**report, "id": version, "metric": "FID"}).encode()).data["seconds"] == 0
        )
    later = legacy_browser.vital(json.dumps({**report, "id": "v4-1665000000000-5"}).encode())
    assert later.data["seconds"] == 0
