"""What the page Now shows: which incidents its filters keep, and of each what a person decides by. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup
from msgspec.structs import replace

from process.web import whole_number
from receiver.incident.model import Incident, Priority, State
from receiver.messages.i18n import Reader, one_line
from receiver.messages.render import what_broke
from receiver.messages.timeline import pause_text
from receiver.policy.routing import Routing

SHOWN = 200  # incidents, so that a phone can read a storm
_MOST_SHOWN = 5000
_TITLE, _TEAM = 200, 60  # characters
_PRIORITIES = frozenset(priority.value for priority in Priority)


class Filter(msgspec.Struct, frozen=True):
    """What the query of the page's URL keeps: ``mine`` is the person whose incidents they are, "" for everybody's."""

    team: str = ""
    priority: str = ""
    mine: str = ""
    unanswered: bool = False
    shown: int = SHOWN

    @classmethod
    def read(cls, query: Mapping[str, str], person: str) -> "Filter":
        """Read it; what cannot be read keeps everything."""
        priority = query.get("priority", "")
        return cls(
            team=query.get("team", "")[:_TEAM],
            priority=priority if priority in _PRIORITIES else "",
            mine=person if query.get("mine") else "",
            unanswered=bool(query.get("unanswered")),
            shown=max(SHOWN, whole_number(query.get("show", ""), _MOST_SHOWN) or 0),
        )

    @property
    def query(self) -> str:
        """Write it as the query of a URL."""
        fields = {
            "team": self.team,
            "priority": self.priority,
            "mine": "1" if self.mine else "",
            "unanswered": "1" if self.unanswered else "",
            "show": str(self.shown) if self.shown != SHOWN else "",
        }
        return urlencode({name: value for name, value in fields.items() if value})

    def keeps(self, incident: Incident) -> bool:
        """Say whether an incident is shown."""
        return (
            self.team in {"", incident.team}
            and self.priority in {"", incident.priority.value}
            and not (self.unanswered and incident.state is not State.TRIGGERED)
            and (not self.mine or is_of(incident, self.mine))
        )


class Chip(msgspec.Struct, frozen=True):
    """A filter that can be turned on or off: the query that does so, and whether it is on."""

    text: str
    query: str
    on: bool


class Row(msgspec.Struct, frozen=True):
    """One line of the list."""

    number: int
    state: str
    priority: str
    title: str
    team: str
    since: datetime
    owner: str = ""
    until: datetime | None = None
    next_at: datetime | None = None
    next_whom: str = ""
    pause: str = ""
    snoozed: bool = False
    attached_to: int = 0
    drill: bool = False
    flapping: bool = False


class Group(msgspec.Struct, frozen=True):
    """The rows of one priority, as HTML; also of none, so that a new incident has its place."""

    priority: str
    rows: tuple[Markup, ...]


class Listed(msgspec.Struct, frozen=True):
    """The list under a filter."""

    groups: tuple[Group, ...]
    more: int  # that are not shown
    quiet: tuple[Markup, ...]  # silenced, under maintenance, attached: nobody is paged for them
    quiet_count: int
    matching: int


class Summary(msgspec.Struct, frozen=True):
    """How bad it is, over all filters."""

    unanswered: tuple[tuple[str, int], ...]  # priority, how many
    open: int
    first: str = ""  # the most urgent priority that nobody has answered


def is_quiet(incident: Incident) -> bool:
    """Say whether nobody is paged for it: it is silenced or under maintenance, or another incident speaks for it."""
    return incident.paused is not None or bool(incident.attached_to)


def is_of(incident: Incident, person: str) -> bool:
    """Say whether it concerns a person: they have it, or were paged for it."""
    return incident.acknowledged_by == person or any(told.person == person for told in incident.delivery.told)


def listed(
    incidents: Sequence[Incident], chosen: Filter, routing: Routing, written: Callable[[Incident], Markup]
) -> Listed:
    """Choose what is shown, as it is ``written``; ``incidents`` are in their order."""
    kept = [incident for incident in incidents if chosen.keeps(incident)]
    loud = [incident for incident in kept if not is_quiet(incident)]
    quiet = [incident for incident in kept if is_quiet(incident)]
    rows: dict[str, list[Markup]] = {plan.value: [] for plan in routing.plans}
    for incident in loud[: chosen.shown]:
        rows.setdefault(incident.priority.value, []).append(written(incident))
    return Listed(
        groups=tuple(Group(name, tuple(rows[name])) for name in sorted(rows)),
        more=max(0, len(loud) - chosen.shown),
        quiet=tuple(map(written, quiet[:SHOWN])),
        quiet_count=len(quiet),
        matching=len(kept),
    )


def row_of(incident: Incident, routing: Routing, reader: Reader, now: datetime) -> Row:
    """Describe one incident on one line."""
    next_at, next_whom = upcoming(incident, routing, reader)
    owned = incident.state is State.ACKNOWLEDGED
    return Row(
        number=incident.id,
        state=incident.state.value,
        priority=incident.priority.value,
        title=one_line(what_broke(incident, reader), _TITLE),
        team=one_line(incident.team, _TEAM),
        since=incident.opened_at or now,
        owner=reader.who(incident.acknowledged_by) if owned else "",
        until=incident.clocks.acknowledged_until if owned else None,
        next_at=next_at,
        next_whom=next_whom,
        pause=pause_text(incident.paused, reader, now) if incident.paused else "",
        snoozed=incident.snoozed_until is not None,
        attached_to=incident.attached_to,
        drill=incident.drill,
        flapping=incident.flapping,
    )


def upcoming(incident: Incident, routing: Routing, reader: Reader) -> tuple[datetime | None, str]:
    """Say when the next step is due and whom it pages: people by name, as far as somebody is on call then."""
    due, steps = incident.clocks.next_due_at, incident.plan.steps
    waits = is_quiet(incident) or incident.clocks.quiet_until is not None or incident.held_at is not None
    if incident.state is not State.TRIGGERED or due is None or not steps or waits:
        return None, ""
    roles = steps[min(incident.next_step, len(steps) - 1)].roles
    people = dict.fromkeys(reader.who(person) for role in roles for person in routing.holders(role, due))
    return due, ", ".join(people) or reader.roles(roles)


def taken_awake(incidents: Iterable[Incident], person: str) -> int:
    """Count what a person has taken while they were awake, and has not looked at since."""
    return sum(bool(one.taken_awake) and one.acknowledged_by == person for one in incidents) if person else 0


def summary(incidents: Iterable[Incident]) -> Summary:
    """Count what is open and what nobody has answered; drills and what is paused page nobody in earnest."""
    everything = list(incidents)
    waiting = Counter(i.priority.value for i in everything if i.state is State.TRIGGERED and not is_quiet(i))
    return Summary(tuple(sorted(waiting.items())), len(everything), min(waiting, default=""))


def summary_text(told: Summary, reader: Reader) -> str:
    """Say it in one line: 2 P1 and 1 P3 unanswered."""
    if told.unanswered:
        some = reader.say("and").join(f"{count} {priority}" for priority, count in told.unanswered[:2])
        return reader.say("console_unanswered", count=sum(count for _, count in told.unanswered), some=some)
    return reader.say("console_all_answered", count=told.open) if told.open else reader.say("console_nothing_open")


def chips(chosen: Filter, viewer: str, reader: Reader) -> tuple[Chip, ...]:
    """Give the filters that are turned on and off by a tap."""
    other = replace(chosen, shown=SHOWN)
    made = [
        Chip("P1", replace(other, priority="" if chosen.priority else "P1").query, bool(chosen.priority)),
        Chip(
            reader.say("console_filter_unanswered"),
            replace(other, unanswered=not chosen.unanswered).query,
            chosen.unanswered,
        ),
    ]
    if viewer:
        mine = replace(other, mine="" if chosen.mine else viewer)
        made.insert(0, Chip(reader.say("console_filter_mine"), mine.query, bool(chosen.mine)))
    return tuple(made)


def team_chips(chosen: Filter, routing: Routing, reader: Reader) -> tuple[Chip, ...]:
    """Give a filter for each team."""
    other = replace(chosen, shown=SHOWN)
    everybody = Chip(reader.say("console_every_team"), replace(other, team="").query, not chosen.team)
    return (
        everybody,
        *(Chip(team, replace(other, team=team).query, chosen.team == team) for team in sorted(routing.teams)),
    )
