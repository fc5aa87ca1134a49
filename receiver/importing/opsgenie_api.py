"""Reads Opsgenie's API v2: docs.opsgenie.com/docs/api-overview. I/O."""

from collections.abc import Mapping
from datetime import datetime

from receiver.importing.answers import Answers, Api, identities, next_link, part

_PAGE = {"limit": "100"}
# Opsgenie's own words: services, alert policies and integrations are not read, because nothing of ours stands for them.
_LISTS: dict[str, tuple[str, dict[str, str]]] = {
    "users": ("v2/users", _PAGE),
    "schedules": ("v2/schedules", {"expand": "rotation"}),
    "forwarding_rules": ("v2/forwarding-rules", {}),
    "escalations": ("v2/escalations", {}),
    "teams": ("v2/teams", {}),
    "maintenance": ("v1/maintenance", {}),
}
# Lists that each object of another list has: by the id of that object.
_OF_EACH = {
    "contacts": ("users", "v2/users/{}/contacts"),
    "notification_rules": ("users", "v2/users/{}/notification-rules"),
    "members": ("teams", "v2/teams/{}"),
    "routing_rules": ("teams", "v2/teams/{}/routing-rules"),
    "overrides": ("schedules", "v2/schedules/{}/overrides"),
    "timelines": ("schedules", "v2/schedules/{}/timeline"),
}
NAMES = frozenset({*_LISTS, *_OF_EACH, "notification_steps"})


def headers(token: str, _grafana_url: str) -> dict[str, str]:
    """Give what each request carries."""
    return {"Authorization": f"GenieKey {token}"}


async def read(api: Api, now: datetime, days: int) -> Answers:
    """Read everything, and the timelines of so many days."""
    answers = Answers()
    for name, (path, parameters) in _LISTS.items():
        answers[name] = await api.pages(path, parameters, items="data", following=next_link)
    for name, (parents, path) in _OF_EACH.items():
        period = {"date": f"{now:%Y-%m-%dT00:00:00Z}", "interval": str(days + 2), "intervalUnit": "days"}
        asked = period if name == "timelines" else {}

        async def one(identity: str, path: str = path, asked: Mapping[str, str] = asked) -> object:
            return (await api.get(path.format(part(identity)), asked)).get("data", [])

        answers[name] = await api.each(identities(answers[parents], f"Opsgenie: {parents}"), one)
    answers["notification_steps"] = await _steps(api, answers["notification_rules"])
    return answers


async def _steps(api: Api, rules: object) -> dict[str, object]:
    """Read the steps of each rule on new alerts, by the rule's id."""
    paths = dict[str, str]()
    for user, mine in rules.items() if isinstance(rules, dict) else ():
        new = [r for r in mine if isinstance(r, dict) and r.get("actionType") == "create-alert"] if mine else []
        for rule in identities(new, "Opsgenie: notification_rules"):
            paths[rule] = f"v2/users/{part(user)}/notification-rules/{part(rule)}/steps"

    async def steps(rule: str) -> object:
        return (await api.get(paths[rule])).get("data", [])

    return await api.each(paths, steps)
