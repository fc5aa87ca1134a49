"""The tools that can be imported: how each is asked, and how its answers are mapped."""

from collections.abc import Awaitable, Callable
from datetime import datetime

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


def _oncall(answers: Answers, taken_at: datetime) -> Draft:
    empty: Answers = {"users": [], "schedules": [], "on_call_shifts": []}
    return oncall.draft(decoded(empty | answers, oncall.Records, "Grafana OnCall"), taken_at)


def _opsgenie(answers: Answers, taken_at: datetime) -> Draft:
    empty: Answers = {"users": [], "schedules": []}
    return opsgenie.draft(decoded(empty | answers, opsgenie.Records, "Opsgenie"), taken_at)


def _pagerduty(answers: Answers, taken_at: datetime) -> Draft:
    empty: Answers = {"users": [], "schedules": []}
    return pagerduty.draft(decoded(empty | answers, pagerduty.Records, "PagerDuty"), taken_at)


def _goalert(answers: Answers, taken_at: datetime) -> Draft:
    empty: Answers = {"users": [], "schedules": []}
    return goalert.draft(decoded(empty | answers, goalert.Records, "GoAlert"), taken_at)


SOURCES = {
    "oncall": Source("Grafana OnCall", "", "results", oncall_api.NAMES, oncall_api.headers, oncall_api.read, _oncall),
    "opsgenie": Source(
        title="Opsgenie",
        url="https://api.opsgenie.com",
        items="data",
        names=opsgenie_api.NAMES,
        headers=opsgenie_api.headers,
        read=opsgenie_api.read,
        draft=_opsgenie,
    ),
    "pagerduty": Source(
        title="PagerDuty",
        url="https://api.pagerduty.com",
        items="",
        names=pagerduty_api.NAMES,
        headers=pagerduty_api.headers,
        read=pagerduty_api.read,
        draft=_pagerduty,
    ),
    "goalert": Source(
        title="GoAlert",
        url="",
        items="nodes",
        names=goalert_api.NAMES,
        headers=goalert_api.headers,
        read=goalert_api.read,
        draft=_goalert,
        query=goalert_api.QUERY,
        longest=goalert_api.LONGEST,
    ),
}
