"""The webhook payload: what Alertmanager sends is understood, anything else is refused by name."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.incident.model import AlertGroup
from receiver.web.alertmanager_payload import PayloadError, parse

# As Alertmanager 0.33 sends it.
PAYLOAD: dict[str, Any] = {
    "receiver": "heypeter\\.receiver",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "HighErrorRate", "severity": "critical"},
            "annotations": {"summary": "High error rate detected"},
            "startsAt": "2026-11-23T03:00:00.123456789Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph",
            "fingerprint": "5ef77f1f8a3ecb8d",
        }
    ],
    "groupLabels": {"alertname": "HighErrorRate"},
    "commonLabels": {"alertname": "HighErrorRate"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{alertname="HighErrorRate"}',
    "truncatedAlerts": 0,
    "notification_reason": "first notification",
}


def encoded(**changes: object) -> bytes:
    return json.dumps({k: v for k, v in {**PAYLOAD, **changes}.items() if v is not None}).encode()


def with_alert(**changes: object) -> bytes:
    return encoded(alerts=[{**PAYLOAD["alerts"][0], **changes}])


def test_a_payload_is_read() -> None:
    group = parse(encoded())
    assert group.key == 'heypeter.receiver|{}:{alertname="HighErrorRate"}'
    (alert,) = group.alerts
    assert alert.firing
    assert alert.ends_at is None
    assert alert.starts_at.isoformat() == "2026-11-23T03:00:00.123457+00:00"


def test_an_older_alertmanager_sends_no_truncated_alerts() -> None:
    assert parse(encoded(truncatedAlerts=None)).truncated == 0


def test_a_zero_time_with_an_offset_is_no_crash() -> None:
    assert parse(with_alert(endsAt="0001-01-01T00:00:00+05:00")).alerts[0].ends_at is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "payload of version 4"),
        (b"{", "payload of version 4"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "payload of version 4"),
        (encoded(version="3"), "version: '3' is not supported"),
        (encoded(version=None), "version"),
        (encoded(groupKey=""), "$.groupKey"),
        (encoded(alerts="many"), "$.alerts"),
        (encoded(truncatedAlerts=-1), "$.truncatedAlerts"),
        (with_alert(status="pending"), "$.alerts[0].status"),
        (with_alert(startsAt="yesterday"), "$.alerts[0].startsAt"),
        (with_alert(startsAt="2026-11-23T03:00:00"), "$.alerts[0].startsAt"),
        (with_alert(labels={"a": 1}), "$.alerts[0].labels"),
        (with_alert(fingerprint=""), "$.alerts[0].fingerprint"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, named: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(body)
    assert named in str(caught.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_json | st.fixed_dictionaries({}, optional=dict.fromkeys(PAYLOAD, _json)))
def test_any_json_gives_a_group_or_the_named_error(value: object) -> None:
    with contextlib.suppress(PayloadError):  # any other exception fails the test
        assert isinstance(parse(json.dumps(value).encode()), AlertGroup)


@given(st.binary(max_size=200))
def test_any_bytes_give_the_named_error(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(body)
