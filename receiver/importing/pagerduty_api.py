"""Reads PagerDuty's REST API v2: developer.pagerduty.com/api-reference. I/O."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from receiver.importing.answers import Answers, Api, Json, identities, part

_LIMIT = 100
_CHUNK = timedelta(days=30)  # of a rendered schedule; entries are cut at its ends
_LISTS = {
    "users": "users?include[]=contact_methods&include[]=notification_rules",
    "schedules": "schedules",
    "escalation_policies": "escalation_policies",
    "services": "services",
    "maintenance_windows": "maintenance_windows?filter=open",
}
NAMES = frozenset({*_LISTS, "overrides", "rendered"})


def headers(token: str, _grafana_url: str) -> dict[str, str]:
    """Give what each request carries."""
    return {"Authorization": f"Token token={token}", "Accept": "application/vnd.pagerduty+json;version=2"}


async def read(api: Api, now: datetime, days: int) -> Answers:
    """Read everything: schedules one by one, since lists have no layers, and rendered in parts of 30 days."""
    answers = Answers()
    for name, path in _LISTS.items():
        first = {"limit": str(_LIMIT), "offset": "0"}
        answers[name] = await api.pages(path, first, items=name, following=_following())
    period = _period(now, now + timedelta(days=days + 1))
    schedules = dict[str, object]()

    async def overrides(identity: str) -> object:
        return (await api.get(f"schedules/{part(identity)}/overrides", period)).get("overrides", [])

    async def schedule(identity: str) -> object:
        entries = list[object]()
        for begin, end in _chunks(now, now + timedelta(days=days + 1)):
            whole = (await api.get(f"schedules/{part(identity)}", _period(begin, end))).get("schedule")
            whole = whole if isinstance(whole, dict) else {}
            final = whole.get("final_schedule")
            found = final.get("rendered_schedule_entries") if isinstance(final, dict) else None
            entries += found if isinstance(found, list) else []
            schedules.setdefault(identity, whole)
        return entries

    ids = identities(answers["schedules"], "PagerDuty: schedules")
    rendered = await api.each(ids, schedule)
    whole = [schedules[identity] for identity in ids]
    return answers | {"schedules": whole, "overrides": await api.each(ids, overrides), "rendered": rendered}


def _following() -> Callable[[Json, int], Mapping[str, str] | None]:
    def following(answer: Json, count: int) -> Mapping[str, str] | None:
        return {"limit": str(_LIMIT), "offset": str(count)} if answer.get("more") is True else None

    return following


def _period(start: datetime, end: datetime) -> dict[str, str]:
    return {"since": f"{start:%Y-%m-%dT%H:%M:%SZ}", "until": f"{end:%Y-%m-%dT%H:%M:%SZ}", "time_zone": "UTC"}


def _chunks(start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    count = -(-(end - start) // _CHUNK)
    return [(start + n * _CHUNK, min(end, start + (n + 1) * _CHUNK)) for n in range(count)]
