"""Reads GoAlert by one GraphQL query: graphql2/ of target/goalert@2458b9d. I/O.

An API key of GoAlert carries one fixed query, so that everything is asked in one; its variables turn the pages.
"""

from datetime import datetime, timedelta

from receiver.importing.answers import Answers, Api, Json
from receiver.importing.draft import ImportFailedError

_ONCE = timedelta(days=49)  # of shifts in one answer: 50 are refused
LONGEST = 97  # days that two answers cover
_MOST_PAGES = 1_000
_LISTS = ("users", "rotations", "schedules", "escalationPolicies", "services", "userOverrides")
NAMES = frozenset(_LISTS)

QUERY = """query HeyPeterImport($users: String!, $rotations: String!, $schedules: String!, $escalationPolicies: String!,
    $services: String!, $userOverrides: String!, $start: ISOTimestamp!, $middle: ISOTimestamp!, $end: ISOTimestamp!) {
  users(first: 100, after: $users) { pageInfo { endCursor hasNextPage } nodes { id name email
    contactMethods { id name disabled dest { type args } }
    notificationRules { id delayMinutes contactMethodID } } }
  rotations(input: {first: 100, after: $rotations}) { pageInfo { endCursor hasNextPage }
    nodes { id name start timeZone type shiftLength activeUserIndex userIDs } }
  schedules(input: {first: 10, after: $schedules}) { pageInfo { endCursor hasNextPage } nodes { id name timeZone
    targets { target { id type name } rules { start end weekdayFilter } }
    temporarySchedules { start end shifts { userID start end } }
    shifts: shifts(start: $start, end: $middle) { userID start end }
    later: shifts(start: $middle, end: $end) { userID start end } } }
  escalationPolicies(input: {first: 100, after: $escalationPolicies}) { pageInfo { endCursor hasNextPage }
    nodes { id name repeat steps { id delayMinutes actions { type args } } } }
  services(input: {first: 100, after: $services}) { pageInfo { endCursor hasNextPage }
    nodes { id name escalationPolicyID maintenanceExpiresAt heartbeatMonitors { id name } } }
  userOverrides(input: {first: 100, after: $userOverrides}) { pageInfo { endCursor hasNextPage }
    nodes { id start end addUserID removeUserID target { id type } } }
}
"""


def headers(token: str, _grafana_url: str) -> dict[str, str]:
    """Give what each request carries."""
    return {"Authorization": f"Bearer {token}"}


async def read(api: Api, now: datetime, days: int) -> Answers:
    """Read everything; the shifts of at most 98 days."""
    middle = now + min(_ONCE, timedelta(days=days + 1) / 2)
    times = {"start": now, "middle": middle, "end": middle + (middle - now)}
    variables = {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in times.items()}
    cursors, found = dict.fromkeys(_LISTS, ""), {name: dict[str, object]() for name in _LISTS}
    for _ in range(_MOST_PAGES):
        data = _data(api, await api.post("api/graphql", {"query": QUERY, "variables": variables | cursors}))
        following = {}
        for name in _LISTS:
            found[name] |= {str(node.get("id")): node for node in _nodes(data, name)}
            following[name] = _following(data, name, cursors[name])
        if following == cursors:
            return {name: list(nodes.values()) for name, nodes in found.items()}
        cursors = following
    raise ImportFailedError(f"GoAlert has more than {_MOST_PAGES} pages")


def _following(data: Json, name: str, cursor: str) -> str:
    """Give the cursor of the next page, or the same one if this is the last."""
    page = _inner(data, name).get("pageInfo")
    if not isinstance(page, dict) or page.get("hasNextPage") is not True:
        return cursor
    following = page.get("endCursor")
    if not following or str(following) == cursor:
        raise ImportFailedError(f"GoAlert answered with the same page of {name} again")
    return str(following)


def _data(api: Api, answer: Json) -> Json:
    errors = answer.get("errors")
    if isinstance(errors, list) and errors:
        first = errors[0].get("message") if isinstance(errors[0], dict) else ""
        raise ImportFailedError(f"GoAlert refuses the query: {api.quoted(str(first))}")
    data = answer.get("data")
    if not isinstance(data, dict):
        raise ImportFailedError("GoAlert answered without data")
    return data


def _inner(data: Json, name: str) -> Json:
    part = data.get(name)
    if not isinstance(part, dict):
        raise ImportFailedError(f"GoAlert answered without {name}")
    return part


def _nodes(data: Json, name: str) -> list[Json]:
    nodes = _inner(data, name).get("nodes")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        raise ImportFailedError(f"GoAlert answered with {name} that are no list of objects")
    return nodes
