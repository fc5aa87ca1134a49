"""Turns deploy/config/alertmanager.yml into the `spec` of the Prometheus operator's AlertmanagerConfig (v1alpha1).

What the operator cannot express is an error, so that no route gets lost on the way.
https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1alpha1.AlertmanagerConfig
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

_MATCHER = re.compile(r"""\s*(?P<name>\w+)\s*(?P<type>=~|!~|!=|=)\s*"(?P<value>[^"]*)"\s*""")
_MINUTES = 24 * 60
# Any name works: the chart puts in the Secret of receiver.yml, where both keys are.
SECRET = "SECRET"  # noqa: S105  # a placeholder


class Renamed(NamedTuple):
    """The operator's name of a key, and how its value is turned."""

    name: str
    turn: Callable[[Any], Any] = lambda value: value


def _turned(value: Mapping[str, Any], keys: Mapping[str, Renamed], at: str) -> dict[str, Any]:
    """Rename all keys; ValueError for one that has no counterpart."""
    unknown = sorted(set(value) - set(keys))
    if unknown:
        raise ValueError(f"alertmanager.yml: {at}: AlertmanagerConfig has no {', '.join(unknown)}")
    return {keys[key].name: keys[key].turn(one) for key, one in value.items()}


def matcher(text: str) -> dict[str, str]:
    """Read one matcher, as `severity =~ "a|b"`; ValueError if it is none."""
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise ValueError(f'alertmanager.yml: invalid matcher {text!r} (expected e.g. severity = "critical")')
    return {"name": match["name"], "matchType": match["type"], "value": match["value"]}


def _matchers(texts: list[str]) -> list[dict[str, str]]:
    return [matcher(text) for text in texts]


def _route(value: Mapping[str, Any]) -> dict[str, Any]:
    keys = {
        "receiver": Renamed("receiver"),
        "group_by": Renamed("groupBy"),
        "group_wait": Renamed("groupWait"),
        "group_interval": Renamed("groupInterval"),
        "repeat_interval": Renamed("repeatInterval"),
        "continue": Renamed("continue"),
        "matchers": Renamed("matchers", _matchers),
        "mute_time_intervals": Renamed("muteTimeIntervals"),
        "routes": Renamed("routes", lambda routes: [_route(route) for route in routes]),
    }
    return _turned(value, keys, "route")


def _inhibition(value: Mapping[str, Any]) -> dict[str, Any]:
    keys = {
        "source_matchers": Renamed("sourceMatch", _matchers),
        "target_matchers": Renamed("targetMatch", _matchers),
        "equal": Renamed("equal"),
    }
    return _turned(value, keys, "inhibit_rules")


def _key(path: str) -> dict[str, str]:
    return {"name": SECRET, "key": path.rpartition("/")[2]}


def _http(value: Mapping[str, Any]) -> dict[str, Any]:
    authorization = {"type": Renamed("type"), "credentials_file": Renamed("credentials", _key)}
    keys = {
        "authorization": Renamed("authorization", lambda one: _turned(one, authorization, "authorization")),
        "follow_redirects": Renamed("followRedirects"),
    }
    return _turned(value, keys, "http_config")


def _receiver(value: Mapping[str, Any], mail: Mapping[str, Any]) -> dict[str, Any]:
    webhook = {
        "url": Renamed("url"),
        "send_resolved": Renamed("sendResolved"),
        "max_alerts": Renamed("maxAlerts"),
        "http_config": Renamed("httpConfig", _http),
    }
    email = {"to": Renamed("to"), "send_resolved": Renamed("sendResolved")}
    keys = {
        "name": Renamed("name"),
        "webhook_configs": Renamed("webhookConfigs", lambda all_: [_turned(one, webhook, "webhook") for one in all_]),
        "email_configs": Renamed(
            "emailConfigs", lambda all_: [{**_turned(one, email, "email"), **mail} for one in all_]
        ),
    }
    return _turned(value, keys, "receivers")


def _mail(value: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of `global`, which AlertmanagerConfig has at each e-mail."""
    keys = {
        "smtp_smarthost": Renamed("smarthost"),
        "smtp_from": Renamed("from"),
        "smtp_auth_username": Renamed("authUsername"),
        "smtp_auth_password_file": Renamed("authPassword", _key),
    }
    return _turned({key: one for key, one in value.items() if key != "resolve_timeout"}, keys, "global")


def _offset(zone: str) -> int:
    """Give the minutes that a zone without summer time is ahead of UTC; ValueError for others."""
    found = {datetime(2026, month, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset() for month in range(1, 13)}
    offset = found.pop()
    if found or offset is None:
        raise ValueError(f"alertmanager.yml: {zone} has summer time; AlertmanagerConfig knows UTC only")
    return offset // timedelta(minutes=1)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def in_utc(start: str, end: str, offset: int) -> list[dict[str, str]]:
    """Move hours of every day to UTC, in two parts if midnight comes between; ``offset`` in minutes."""
    first, last = (int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    begin = (first - offset) % _MINUTES
    finish = begin + last - first
    parts = [(begin, min(finish, _MINUTES))] + ([(0, finish - _MINUTES)] if finish > _MINUTES else [])
    return [{"startTime": _clock(one), "endTime": _clock(other)} for one, other in parts]


def _times(value: Mapping[str, Any]) -> dict[str, Any]:
    if set(value) - {"times", "location"}:
        raise ValueError("alertmanager.yml: time_intervals: only times of every day can be moved to UTC")
    offset = _offset(value.get("location", "UTC"))
    return {"times": [part for one in value["times"] for part in in_utc(one["start_time"], one["end_time"], offset)]}


def _interval(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": value["name"], "timeIntervals": [_times(one) for one in value["time_intervals"]]}


def spec(config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the spec; ValueError names what AlertmanagerConfig cannot express."""
    mail = _mail(config.get("global", {}))
    keys = {
        "global": Renamed("global"),
        "route": Renamed("route", _route),
        "receivers": Renamed("receivers", lambda all_: [_receiver(one, mail) for one in all_]),
        "inhibit_rules": Renamed("inhibitRules", lambda all_: [_inhibition(one) for one in all_]),
        "time_intervals": Renamed("muteTimeIntervals", lambda all_: [_interval(one) for one in all_]),
    }
    made = _turned(config, keys, "file")
    made.pop("global", None)
    return made
