"""The webhook payload: what Alertmanager sends is understood, anything else is refused by name."""

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.incident.model import UNKNOWN_START, AlertGroup
from receiver.web.alertmanager_payload import Payload, PayloadError, fingerprint, parse
from tests.receiver.example_site import START

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


def only(body: bytes) -> AlertGroup:
    payload = parse(body, START)
    assert payload.dropped == ()
    (group,) = payload.groups
    return group


def test_a_payload_is_read() -> None:
    group = only(encoded())
    assert group.key == 'heypeter.receiver|{}:{alertname="HighErrorRate"}'
    (alert,) = group.alerts
    assert alert.firing
    assert alert.ends_at is None
    assert alert.starts_at.isoformat() == "2026-11-23T03:00:00.123456+00:00"


@pytest.mark.parametrize(
    ("sender", "key", "name", "fingerprint_sent"),
    [
        ("alertmanager", 'heypeter.receiver|{}:{alertname="HighErrorRate"}', "HighErrorRate", "d3f0df6b9f9a4b5c"),
        ("mimir", 'oncall|{}/{severity="critical"}:{alertname="HighErrorRate"}', "HighErrorRate", "91ab3c4d5e6f7081"),
        ("vmalert_through_alertmanager", 'oncall|{}:{alertgroup="shop"}', "HighErrorRate", "0a1b2c3d4e5f6071"),
        ("loki_ruler", 'oncall|{}:{alertname="ManyErrorsInLog"}', "ManyErrorsInLog", "7f6e5d4c3b2a1908"),
        (
            "grafana",
            'oncall|{}:{alertname="High memory usage", grafana_folder="Shop"}',
            "High memory usage",
            "c6eadffa33fcdf37",
        ),
    ],
)
def test_bodies_of_each_sender_are_read(sender: str, key: str, name: str, fingerprint_sent: str) -> None:
    group = only(Path(f"tests/receiver/web/data/{sender}.json").read_bytes())
    (alert,) = group.alerts
    assert (group.key, alert.labels["alertname"], alert.fingerprint) == (key, name, fingerprint_sent)
    assert alert.firing
    assert alert.starts_at.replace(microsecond=0) == START


def test_what_only_grafana_says_becomes_annotations() -> None:
    (alert,) = only(Path("tests/receiver/web/data/grafana.json").read_bytes()).alerts
    assert alert.annotations["dashboard_url"] == "https://grafana.example.com/d/shop?orgId=1&viewPanel=4"
    assert "description" not in alert.annotations  # it has a summary of its own
    (bare,) = only(with_alert(annotations=None, valueString="[ value=44 ]")).alerts
    assert bare.annotations == {"description": "[ value=44 ]"}


def test_a_script_that_sends_little_is_understood() -> None:
    group = only(Path("tests/receiver/web/data/script.json").read_bytes())
    assert group.key == '|{}:{alertname="BackupFailed"}'
    assert [alert.firing for alert in group.alerts] == [True, True]
    assert [alert.starts_at for alert in group.alerts] == [START, UNKNOWN_START]
    assert len({alert.fingerprint for alert in group.alerts}) == 2
    assert all(alert.ends_at is None for alert in group.alerts)


def test_a_derived_fingerprint_is_that_of_alertmanager() -> None:
    # Of the empty set it is FNV-1a's offset basis: prometheus/common, model/fingerprinting_test.go.
    assert fingerprint({}) == "cbf29ce484222325"
    labels = {"name": "garland, briggs", "fear": "love is not enough"}  # prometheus/common, model/signature_test.go
    assert int(fingerprint(labels), 16) == 5799056148416392346


def test_without_a_group_key_each_alert_name_is_a_group_and_a_resolve_finds_it() -> None:
    a, b = ({"labels": {"alertname": name}} for name in ("A", "B"))
    both = parse(json.dumps({"alerts": [a, b]}).encode(), START)
    assert [group.key for group in both.groups] == ['|{}:{alertname="A"}', '|{}:{alertname="B"}']
    over = only(json.dumps({"alerts": [{**b, "status": "resolved"}]}).encode())
    assert over.key == both.groups[1].key
    assert over.alerts[0].ends_at == START
    assert over.alerts[0].fingerprint == both.groups[1].alerts[0].fingerprint


def test_without_a_group_key_the_group_labels_give_alertmanagers_own() -> None:
    assert only(encoded(groupKey=None)).key == only(encoded()).key
    assert only(encoded(groupKey="", groupLabels={"b": "2", "a": "1"})).key.endswith('|{}:{a="1", b="2"}')


@pytest.mark.parametrize(
    ("changes", "firing"),
    [
        ({}, True),
        ({"endsAt": "2026-11-23T02:59:00Z"}, False),
        ({"endsAt": "2026-11-23T03:04:00Z"}, True),  # Prometheus's own: it ends unless it is said again
        ({"endsAt": "9999-12-31T23:59:59-05:00"}, True),
        ({"status": " Resolved "}, False),
        ({"status": "FIRING", "endsAt": "2026-11-23T02:59:00Z"}, True),
    ],
)
def test_a_missing_status_is_derived_from_the_end(changes: dict[str, Any], firing: bool) -> None:
    assert only(with_alert(**{"status": None, "endsAt": None, **changes})).alerts[0].firing is firing


def test_a_missing_status_is_derived_from_the_group() -> None:
    alerts = [{"labels": {"alertname": "A"}, "endsAt": ""}]
    assert not only(encoded(alerts=alerts, status="resolved")).alerts[0].firing


@pytest.mark.parametrize("field", ["annotations", "endsAt", "generatorURL", "fingerprint", "status", "startsAt"])
@pytest.mark.parametrize("value", [None, "", 7, [], {}])
def test_an_empty_or_odd_field_costs_no_alert(field: str, value: object) -> None:
    if field == "status" and value == 7:  # neither firing nor resolved
        return
    payload = parse(json.dumps({**PAYLOAD, "alerts": [{**PAYLOAD["alerts"][0], field: value}]}).encode(), START)
    assert payload.dropped == ()
    assert payload.groups[0].alerts[0].labels == PAYLOAD["alerts"][0]["labels"]


@pytest.mark.parametrize("version", [4, 4.0, "4.0", 1, 1.0, None])
def test_a_version_may_be_a_number(version: object) -> None:
    body = json.dumps({**PAYLOAD, "version": version}).encode()
    assert only(body).alerts == only(encoded()).alerts


@pytest.mark.parametrize("version", [4.5, 5, "40", True, 1e300, "4.0.0"])
def test_another_version_is_refused(version: object) -> None:
    with pytest.raises(PayloadError, match="version"):
        parse(json.dumps({**PAYLOAD, "version": version}).encode(), START)


@pytest.mark.parametrize(
    ("written", "count"),
    [
        (3, 3),
        (3.0, 3),
        ("3", 3),
        (" 3 ", 3),
        (-1, 0),
        (None, 0),
        ("many", 0),
        ("\u00b2", 0),
        (10**30, 1_000_000_000),
        ("9" * 5000, 1_000_000_000),
    ],
)
def test_how_many_alerts_were_left_out_may_be_written_as_other_languages_do(written: object, count: int) -> None:
    """With alerts left out, "all resolved" proves nothing: a count that is passed over would end what still fires."""
    assert only(encoded(truncatedAlerts=written)).truncated == count


def test_long_fingerprints_of_alerts_without_labels_are_told_apart() -> None:
    alerts = [{"labels": {}, "fingerprint": "x" * 200 + end, "status": "firing"} for end in ("a", "b")]
    first, second = only(encoded(alerts=alerts)).alerts
    assert first.fingerprint != second.fingerprint
    assert only(encoded(alerts=alerts)).alerts == (first, second)
    assert len(first.fingerprint) == 16


@pytest.mark.parametrize("field", ["groupLabels", "commonLabels", "commonAnnotations", "truncatedAlerts", "version"])
@pytest.mark.parametrize("value", [None, -1, 10**30, True, "", "4", {"a": None}])
def test_an_empty_or_odd_field_of_the_group_costs_nothing(field: str, value: object) -> None:
    if field == "version" and value not in (None, "", "4"):
        return
    group = only(json.dumps({**PAYLOAD, field: value}).encode())
    assert 0 <= group.truncated <= 10**9
    assert msgspec.json.decode(msgspec.json.encode(group), type=AlertGroup) == group


@pytest.mark.parametrize(
    "when",
    ["0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z", "x", ""],
)
def test_a_time_out_of_range_means_none(when: str) -> None:
    (alert,) = only(with_alert(startsAt=when, endsAt=when)).alerts
    assert (alert.starts_at, alert.ends_at) == (UNKNOWN_START, None)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"disk \ud83d", "disk \ufffd"),
        (rb"\udcbe disk", "\ufffd disk"),
        (rb"\uD83D\u0041", "\ufffdA"),
        (rb"\ud83d\ud83d\udcbe", "\ufffd\U0001f4be"),
        (rb"\\ud83d \udc00", "\\ud83d \ufffd"),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_half_an_emoji_costs_no_alert(written: bytes, read: str, mark: bytes) -> None:
    body = encoded(alerts=[{"labels": {"alertname": "A"}, "annotations": {"summary": "CUT"}}, *PAYLOAD["alerts"]])
    (group,) = parse(mark + body.replace(b"CUT", written), START).groups
    assert (len(group.alerts), group.alerts[0].annotations["summary"]) == (2, read)


@pytest.mark.parametrize("written", [b"\xfc", b"\xed\xa0\xbd", b"\xff"], ids=["latin-1", "surrogate", "no character"])
def test_bytes_that_are_no_utf_8_cost_no_alert(written: bytes) -> None:
    body = encoded(alerts=[{"labels": {"alertname": "CUT"}}, *PAYLOAD["alerts"]], groupKey="CUT")
    payload = parse(body.replace(b"CUT", written), START)
    (group,) = payload.groups
    assert (payload.dropped, len(group.alerts)) == ((), 2)
    assert set(group.alerts[0].labels["alertname"]) == {"\ufffd"}


@pytest.mark.parametrize(
    ("mentions", "firing"), [("fr", [False]), ("rf", [True]), ("ffrf", [True]), ("frr", [False]), ("f", [True])]
)
def test_of_several_mentions_of_an_episode_in_one_body_the_last_counts(mentions: str, firing: list[bool]) -> None:
    end = {"status": "resolved", "endsAt": "2026-11-23T03:05:00Z"}
    alerts = [{**PAYLOAD["alerts"][0], **(end if mention == "r" else {})} for mention in mentions]
    assert [alert.firing for alert in only(encoded(alerts=alerts)).alerts] == firing
    later = {**PAYLOAD["alerts"][0], "startsAt": "2026-11-23T03:30:00Z"}
    assert [alert.firing for alert in only(encoded(alerts=[*alerts, later])).alerts] == [*firing, True]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"labels": {"a": {"b": 1}}}, ".labels['a']"),
        ({"labels": "x"}, ".labels"),
        ({"annotations": {"summary": "x"}}, ".labels"),
        ({"labels": {"alertname": "A"}, "status": "pending"}, ".status"),
        ("text", "Expected `object`"),
        (None, "Expected `object`"),
    ],
)
def test_one_unusable_alert_is_dropped_and_not_its_group(bad: object, named: str) -> None:
    payload = parse(encoded(alerts=[bad, *PAYLOAD["alerts"]]), START)
    (group,) = payload.groups
    assert (len(group.alerts), group.dropped) == (1, 1)
    assert len(payload.dropped) == 1
    assert payload.dropped[0].startswith("alerts[0]")
    assert named in payload.dropped[0]
    with pytest.raises(PayloadError) as caught:  # nothing of the body is usable: whoever sends it must hear so
        parse(encoded(alerts=[bad]), START)
    assert named in str(caught.value)


def test_a_key_without_end_is_cut_and_stays_unique() -> None:
    one, other = (only(encoded(groupKey="k" * 100_000 + end)).key for end in "ab")
    assert len(one) < 4096
    assert one != other


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "payload of version 4"),
        (b"{", "payload of version 4"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "payload of version 4"),
        (b"{}", "alerts"),
        (b'{"alerts": ' + b"[" * 5000 + b"]" * 5000 + b"}", "payload of version 4"),
        (encoded(version="3"), "version: '3' is not supported"),
        (encoded(alerts="many"), "$.alerts"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, named: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse(body, START)
    assert named in str(caught.value)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_json | st.fixed_dictionaries({}, optional=dict.fromkeys(PAYLOAD, _json)))
def test_any_json_gives_a_group_or_the_named_error(value: object) -> None:
    with contextlib.suppress(PayloadError):  # any other exception fails the test
        payload = parse(json.dumps(value).encode(), START)
        assert msgspec.json.decode(msgspec.json.encode(payload), type=Payload) == payload


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(PAYLOAD["alerts"][0], _json))))
def test_any_alerts_give_groups_or_the_named_error(alerts: list[object]) -> None:
    with contextlib.suppress(PayloadError):
        payload = parse(json.dumps({"alerts": alerts}).encode(), START)
        kept = {alert.fingerprint for group in payload.groups for alert in group.alerts}
        # Of several mentions of one alert the last counts.
        assert len(kept) <= sum(len(group.alerts) for group in payload.groups) <= len(alerts) - len(payload.dropped)


_PLAIN = {
    "status": st.sampled_from(["firing", "resolved", "Firing"]),
    "labels": st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
    "annotations": st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
    "startsAt": st.sampled_from([PAYLOAD["alerts"][0]["startsAt"], "", "soon", "x" * 65, 7]),
    "endsAt": st.sampled_from(["0001-01-01T00:00:00Z", "2026-11-23T04:00:00+07:00", "9999-12-31T23:59:59Z"]),
    "fingerprint": st.sampled_from(["a", "", "b" * 129]),
    "generatorURL": st.text(max_size=3) | st.none(),
    "panelURL": st.sampled_from(["", "http://grafana"]),
}


@given(st.lists(st.fixed_dictionaries({}, optional=_PLAIN), min_size=1))
def test_an_alert_is_read_alike_with_others_and_by_itself(alerts: list[dict[str, object]]) -> None:
    """What is written as Alertmanager does is decoded at once; one that is not has all decoded one by one."""
    odd: dict[str, object] = {"status": "odd"}

    def groups(listed: list[dict[str, object]]) -> object:
        try:
            return parse(encoded(alerts=listed), START).groups[0].alerts
        except PayloadError:
            return ()

    assert groups(alerts) == groups([*alerts, odd])


@given(st.binary(max_size=200))
def test_any_bytes_give_the_named_error(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(body, START)
