"""The tools that can be imported: how each is asked, and how its answers are mapped."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from receiver.importing import (
    goalert,
    goalert_api,
    oncall,
    oncall_api,
    opsgenie,
    opsgenie_api,
    pagerduty,
    pagerduty_api,
)
from receiver.importing.answers import Answers, Api, decoded
from receiver.importing.draft import Draft


class Source(msgspec.Struct, frozen=True):
    """One tool. ``items`` is the key of a page's list, "" for the file's own name; ``names`` are kept in files."""

    title: str
    url: str  # of its API, if that is the same for everybody
    items: str
    names: frozenset[str]
    headers: Callable[[str, str], dict[str, str]]  # of a token, and of Grafana's URL
    read: Callable[[Api, datetime, int], Awaitable[Answers]]
    draft: Callable[[Answers, datetime], Draft]
    query: str = ""  # the one that a key of the API carries
    longest: int = 365  # days that it renders


R = TypeVar("R")


def _mapped(
    title: str, records: type[R], draft: Callable[[R, datetime], Draft], *lists: str
) -> Callable[[Answers, datetime], Draft]:
    """Map what was read; of ``lists``, one that was not read is empty."""

    def mapped(answers: Answers, taken_at: datetime) -> Draft:
        empty: Answers = {name: [] for name in ("users", "schedules", *lists)}
        return draft(decoded(empty | answers, records, title), taken_at)

    return mapped


SOURCES = {
    "oncall": Source(
        "Grafana OnCall",
        "",
        "results",
        oncall_api.NAMES,
        oncall_api.headers,
        oncall_api.read,
        _mapped("Grafana OnCall", oncall.Records, oncall.draft, "on_call_shifts"),
    ),
    "opsgenie": Source(
        title="Opsgenie",
        url="https://api.opsgenie.com",
        items="data",
        names=opsgenie_api.NAMES,
        headers=opsgenie_api.headers,
        read=opsgenie_api.read,
        draft=_mapped("Opsgenie", opsgenie.Records, opsgenie.draft),
    ),
    "pagerduty": Source(
        title="PagerDuty",
        url="https://api.pagerduty.com",
        items="",
        names=pagerduty_api.NAMES,
        headers=pagerduty_api.headers,
        read=pagerduty_api.read,
        draft=_mapped("PagerDuty", pagerduty.Records, pagerduty.draft),
    ),
    "goalert": Source(
        title="GoAlert",
        url="",
        items="nodes",
        names=goalert_api.NAMES,
        headers=goalert_api.headers,
        read=goalert_api.read,
        draft=_mapped("GoAlert", goalert.Records, goalert.draft),
        query=goalert_api.QUERY,
        longest=goalert_api.LONGEST,
    ),
}
