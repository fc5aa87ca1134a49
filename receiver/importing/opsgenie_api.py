"""Reads Opsgenie's API v2: docs.opsgenie.com/docs/api-overview. I/O."""

from datetime import datetime

from receiver.importing.answers import Answers, Api, next_link

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
        found = {}
        for identity in _ids(answers[parents]):
            answer = await api.get(path.format(identity), period if name == "timelines" else {})
            found[identity] = answer.get("data", [])
        answers[name] = found
    answers["notification_steps"] = await _steps(api, answers["notification_rules"])
    return answers


async def _steps(api: Api, rules: object) -> dict[str, object]:
    """Read the steps of each rule on new alerts, by the rule's id."""
    steps = dict[str, object]()
    for user, mine in rules.items() if isinstance(rules, dict) else ():
        for rule in mine if isinstance(mine, list) else ():
            if isinstance(rule, dict) and rule.get("actionType") == "create-alert":
                answer = await api.get(f"v2/users/{user}/notification-rules/{rule['id']}/steps")
                steps[str(rule["id"])] = answer.get("data", [])
    return steps


def _ids(listed: object) -> list[str]:
    return (
        [str(one["id"]) for one in listed if isinstance(one, dict) and "id" in one] if isinstance(listed, list) else []
    )
