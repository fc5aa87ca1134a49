"""What the page Policy shows: the matrix as people know it, the routes, and what would happen to an alert."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from process.settings import SettingsError
from process.web import whole_number
from receiver.evidence.replay import Difference, in_words
from receiver.incident.delivery import Handling
from receiver.incident.model import Incident, Kind, Plan, Priority
from receiver.messages.i18n import Reader, one_line
from receiver.messages.timeline import news
from receiver.oncall.contact_rules import Contact
from receiver.policy.explain import explain
from receiver.policy.matcher import Matchers
from receiver.policy.routing import Routing
from receiver.policy.simulate import Told
from receiver.web.console.layout import Viewing
from receiver.web.console.times import read_moment
from receiver.web.replay_api import LIMIT, MOST_DAYS, BusyError, Replays

LONGEST = 2000  # characters of labels
LARGEST = 2 * LIMIT  # bytes of a form with a file: some characters take three
DAYS = (7, 30, 90)
_LABELS, _LISTED, _TEXT = 40, 200, 200
_PAIR = re.compile(r'\s*([^\s=,]{1,200})\s*=\s*("(?:[^"]{0,500})"|[^,\n]{0,500}?)\s*(?:[,\n]|$)')

_FURTHEST = timedelta(days=3660)  # from now: what would happen ends after that, before the calendar does


class Step(msgspec.Struct, frozen=True):
    """One row of the matrix: after how long, and whom each priority pages then."""

    after: str
    cells: tuple[tuple[str, str], ...]  # role, hours


class Matrix(msgspec.Struct, frozen=True):
    """One matrix; ``team`` is "" for everybody's."""

    team: str
    priorities: tuple[str, ...]
    steps: tuple[Step, ...]
    response: tuple[str, ...]


class Route(msgspec.Struct, frozen=True):
    """Where else some alerts go."""

    matchers: str
    places: str
    only: bool


class Event(msgspec.Struct, frozen=True):
    """One thing that would happen."""

    after: str
    at: datetime
    what: str
    whom: str
    ways: str
    why: str


class Replayed(msgspec.Struct, frozen=True):
    """What an edited file would have made of past incidents, or what is wrong with it."""

    text: str
    days: int
    lines: tuple[str, ...] = ()
    incidents: int = 0
    differences: tuple[Difference, ...] = ()
    wrong: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What would happen."""

    priority: str
    team: str
    events: tuple[Event, ...]
    again: str


def values(look: Viewing, query: Mapping[str, str], handling: Callable[[str], Handling]) -> dict[str, object]:
    """Give what the template needs, with the answer if something is asked."""
    routing, reader, asked = look.routing, look.reader, query.get("labels", "")[:LONGEST]
    labels, at = read_labels(asked), _moment(query.get("at", ""), look) or look.now.replace(microsecond=0)
    matrices = [_matrix("", routing.plans, reader)]
    matrices += [_matrix(team, plans, reader) for team, plans in sorted(routing.team_plans.items())]
    return {
        "matrices": matrices,
        "routes": tuple(_route(route.matchers, route.contacts, reader, only=route.only) for route in routing.routes),
        "teams": tuple((team, _places(contacts, reader)) for team, contacts in sorted(routing.teams.items())),
        "asked": asked,
        "days": DAYS,
        "at": reader.local(at, "%Y-%m-%dT%H:%M"),
        "wrong": bool(asked.strip()) and not labels,
        "answer": _answer(routing, labels, at, reader, handling) if labels else None,
    }


async def replayed(replays: Replays, form: Mapping[str, str], reader: Reader) -> Replayed:
    """Replay past incidents under the file that was sent."""
    text, days = form.get("file", ""), whole_number(form.get("days", ""), MOST_DAYS) or DAYS[1]
    try:
        compared = await replays.replay(text, days)
    except SettingsError as error:
        return Replayed(text, days, wrong=str(error))
    except BusyError:
        return Replayed(text, days, wrong=reader.say("console_replay_busy"))
    lines, count = tuple(in_words(compared, reader)), compared.incidents
    return Replayed(text, days, lines, count, compared.differences[:_LISTED])


def read_labels(text: str) -> dict[str, str]:
    """Read name=value, one on a line or separated by commas, with or without quotes and braces."""
    body = text.strip().removeprefix("{").removesuffix("}")
    found = [(match[1], match[2].strip('"')) for match in _PAIR.finditer(body)]
    return dict(found[:_LABELS])


def _moment(text: str, look: Viewing) -> datetime | None:
    at = read_moment(text, look.reader.zone)
    return at if at is not None and abs(at - look.now) < _FURTHEST else None


def _matrix(team: str, plans: Mapping[Priority, Plan], reader: Reader) -> Matrix:
    columns = sorted(plans)
    times = sorted({step.after for plan in plans.values() for step in plan.steps})
    return Matrix(
        team=team,
        priorities=tuple(priority.value for priority in columns),
        steps=tuple(
            Step(reader.duration(after), tuple(_cell(plans[p], after, reader) for p in columns)) for after in times
        ),
        response=tuple(reader.duration(plans[priority].response_time) for priority in columns),
    )


def _cell(plan: Plan, after: float, reader: Reader) -> tuple[str, str]:
    steps = [step for step in plan.steps if step.after == after]
    roles = dict.fromkeys(reader.name("role", role) for step in steps for role in step.roles)
    hours = dict.fromkeys(step.hours for step in steps if step.hours)
    return ", ".join(roles), ", ".join(hours)


def _route(matchers: Matchers, contacts: Iterable[Contact], reader: Reader, *, only: bool) -> Route:
    return Route(
        ", ".join(one_line(f'{one.label}{one.op}"{one.value}"', _TEXT) for one in matchers),
        _places(contacts, reader),
        only,
    )


def _places(contacts: Iterable[Contact], reader: Reader) -> str:
    return ", ".join(f"{reader.name('channel', one.channel)} {one_line(one.address, _TEXT)}" for one in contacts)


def _answer(
    routing: Routing, labels: dict[str, str], at: datetime, reader: Reader, handling: Callable[[str], Handling]
) -> Answer:
    story = explain(routing, labels, at, handling)
    incident, together = story.incident, dict[tuple[object, ...], list[Told]]()
    for told in story.told[:_LISTED]:
        note = told.notification
        together.setdefault((told.at, note.kind, note.target.person, note.target.role), []).append(told)
    every = incident.plan.repeat_every
    return Answer(
        priority=incident.priority.value,
        team=one_line(incident.team, _TEXT),
        events=tuple(_event(ways, at, incident, reader) for ways in together.values()),
        again=reader.say("console_repeats", every=reader.duration(every)) if every else "",
    )


def _event(ways: list[Told], start: datetime, incident: Incident, reader: Reader) -> Event:
    first, target = ways[0].notification, ways[0].notification.target
    why = news(first, reader, ways[0].at) if first.kind is not Kind.PAGE else ""
    if target.person and target.role:
        why = reader.say("console_holds", role=reader.name("role", target.role))
    return Event(
        after=reader.duration(ways[0].at - start),
        at=ways[0].at,
        what=reader.name("notification", first.kind.value),
        whom=reader.who(target.person)
        if target.person
        else reader.say("console_team", team=one_line(incident.team, _TEXT)),
        ways=", ".join(dict.fromkeys(reader.name("channel", told.notification.target.channel) for told in ways)),
        why=why,
    )
