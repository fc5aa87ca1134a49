"""The slash command, /oncall unless the app names it otherwise: who is on call, covers, open incidents, pages, snoozes.

docs.slack.dev/interactivity/implementing-slash-commands: with should_escape, a name that is mentioned comes as its id.
"""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from process.settings import parse_duration
from process.web import whole_number
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.actions.duty import Duty
from receiver.channels.slack_blocks import Block, cut, escaped, markdown, plain_text
from receiver.incident.event import Raise, Snooze
from receiver.incident.model import Incident, Opening, Origin, Priority, State
from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader, one_line
from receiver.messages.render import incident_name
from receiver.oncall.cover import Cover, CoverState, Refused
from receiver.policy.coverage import role_shifts, roles
from receiver.policy.current import Current
from receiver.store.base import Store
from receiver.web.slack_payload import LONGEST, SlashCommand
from receiver.web.slack_people import SlackPeople, Who

ACCEPT = "cover_accept"
LISTED = 10  # incidents
_ROLES = 20
_LINE = 200
_AHEAD = timedelta(days=14)  # in which the next shift is looked for
_MOST_NUMBER = 10**17
_MENTION = re.compile(r"<@([UW][A-Z0-9]{2,20})(?:\|[^>]*)?>")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_COVERED = {
    Refused.UNKNOWN: "slack_cover_gone",
    Refused.TOO_LATE: "slack_cover_gone",
    Refused.NOT_YOURS: "slack_cover_not_yours",
    Refused.OVERLAPS: "slack_cover_overlaps",
}

Said = dict[str, object]


class Asked:
    """One command, by whom, in their language; ``words`` are those after the first."""

    def __init__(self, command: SlashCommand, who: Who, reader: Reader, now: datetime) -> None:
        self.what, _, rest = command.text.strip()[:LONGEST].partition(" ")
        self.words = rest.split()
        self.who, self.reader, self.now, self.command = who, reader, now, command

    def say(self, key: str, **values: object) -> Said:
        """Answer in one sentence."""
        return {"response_type": "ephemeral", "text": self.reader.say(key, **values)}


class SlackCommands:
    """``answer`` gives what is shown, to whoever wrote it alone but for a request to be covered."""

    def __init__(self, actions: Actions, store: Store, current: Current, duty: Duty, people: SlackPeople) -> None:
        self._actions, self._store, self._current, self._duty = actions, store, current, duty
        self._people = people
        self._known: dict[str, Callable[[Asked], Awaitable[Said]]] = {
            "who": self._who,
            "incidents": self._incidents,
            "page": self._page,
            "snooze": self._snooze,
            "cover": self._cover,
        }

    async def answer(self, command: SlashCommand) -> Said:
        """Do what a command says; what it cannot mean is answered with how it is used."""
        who = await self._people.who(command.user_id, command.user_name)
        asked = Asked(command, who, reader_of(self._current.routing, who.key), self._actions.clock())
        does = self._known.get(asked.what.casefold())
        if does is None:
            return asked.say("slack_help", command=escaped(command.command[:32] or "/oncall"))
        if does not in {self._who, self._incidents} and not who.known:
            return asked.say("slack_unmapped")
        return await does(asked)

    # Who is on call

    async def _who(self, asked: Asked) -> Said:
        routing, reader, now = self._current.routing, asked.reader, asked.now
        lines = []
        for role in roles(routing)[:_ROLES]:
            found = role_shifts(routing, role, now, now + _AHEAD)
            people = ", ".join(escaped(reader.who(key)) for key in found[0].people)
            holds = people or reader.say("slack_nobody")
            line = f"*{escaped(reader.name('role', role))}*: {holds}"
            if len(found) > 1:
                coming = ", ".join(escaped(reader.who(key)) for key in found[1].people) or reader.say("slack_nobody")
                line += reader.say("slack_then", until=reader.time(found[1].start, now), who=coming)
            lines.append(cut(line, 2 * _LINE))
        return {"response_type": "ephemeral", "text": "\n".join(lines) or reader.say("slack_nobody")}

    # Incidents

    async def _incidents(self, asked: Asked) -> Said:
        still_open = sorted(
            await self._store.still_open(), key=lambda one: (one.state is not State.TRIGGERED, one.priority, one.id)
        )
        if not still_open:
            return asked.say("console_quiet_now")
        blocks = [await self._row(incident, asked) for incident in still_open[:LISTED]]
        if len(still_open) > LISTED:
            more: Block = {"type": "mrkdwn", "text": asked.reader.say("and_more", count=len(still_open) - LISTED)}
            blocks.append({"type": "context", "elements": [more]})
        text = asked.reader.say("slack_open", count=len(still_open))
        return {"response_type": "ephemeral", "text": text, "blocks": blocks}

    async def _row(self, incident: Incident, asked: Asked) -> Block:
        reader = asked.reader
        owner = (
            escaped(reader.who(incident.acknowledged_by))
            if incident.acknowledged_by
            else reader.say("console_nobody_yet")
        )
        age = reader.duration(incident.open_for(asked.now))
        text = f"*{escaped(one_line(incident_name(incident, reader), _LINE))}*\n{age} · {owner}"
        button = await self._actions.reference(incident)
        is_triggered = incident.state is State.TRIGGERED
        action, label = ("acknowledge", "acknowledge") if is_triggered else ("more", "more")
        accessory: Block = {
            "type": "button",
            "action_id": action,
            "value": button,
            "text": plain_text(reader.say(label)),
        }
        return {"type": "section", "text": markdown(text), "accessory": accessory}

    async def _page(self, asked: Asked) -> Said:
        """`page linh|@linh|backend what is wrong`."""
        person, team, words = await self._whom(asked.words)
        if not (person or team):
            return asked.say("slack_page_whom", known=escaped(", ".join(sorted(self._current.routing.teams))[:_LINE]))
        if not words:
            return asked.say("slack_page_text")
        event = Raise(asked.who.key, Origin.SLACK, " ".join(words), person=person, team=team, priority=Priority.P1)
        request = Request(form=asked.command.trigger_id)
        result, incident = await self._actions.raise_by_hand(ActionSource.SLACK, event, request)
        if result is ActionResult.STUCK:
            return asked.say("refused_not_raised")
        if incident is None or result is ActionResult.NOBODY:
            return asked.say("console_said_nobody")
        whom = asked.reader.who(person) if person else asked.reader.say("console_team", team=team)
        return asked.say("slack_paged", number=incident.id, whom=escaped(whom))

    async def _whom(self, words: list[str]) -> tuple[str, str, list[str]]:
        """Give person, team and what follows: a mention, a key, a name of one or two words, or a team."""
        if not words:
            return "", "", []
        mention = _MENTION.fullmatch(words[0])
        if mention is not None:
            who = await self._people.who(mention[1], "")
            return (who.key if who.known else ""), "", words[1:]
        name = words[0].lstrip("@")
        if name in self._current.routing.teams:
            return "", name, words[1:]
        key = self._current.routing.directory.key
        two = key(" ".join((name, *words[1:2])))
        if len(words) > 1 and two is not None:
            return two, "", words[2:]
        return key(name) or "", "", words[1:]

    async def _snooze(self, asked: Asked) -> Said:
        """`snooze 12 2h`."""
        number = whole_number((asked.words or [""])[0].lstrip("#"), _MOST_NUMBER)
        length = _length(asked.words[1] if len(asked.words) == 2 else "")  # noqa: PLR2004  # a number and a duration
        stored = await self._store.incident(number) if number and length else None
        if not (number and length):
            return asked.say("slack_snooze_how")
        opening: Opening | None = stored[0].opening if stored else None
        event = Snooze(asked.who.key, Origin.SLACK, asked.now + length, opening)
        result, incident = await self._actions.act(
            ActionSource.SLACK, number, event, Request(form=asked.command.trigger_id)
        )
        if result is ActionResult.STUCK:
            return asked.say("refused_stuck")
        if incident is None:
            return asked.say("slack_no_incident", number=number)
        if result is ActionResult.OUT_OF_BOUNDS:
            return asked.say("console_said_out_of_bounds")
        if result is ActionResult.OVER:
            return asked.say("slack_resolved", number=number)
        until = asked.reader.time(incident.snoozed_until or asked.now, asked.now)
        return asked.say("console_snoozed", who=escaped(asked.reader.who(asked.who.key)), until=until)

    # Covers

    async def _cover(self, asked: Asked) -> Said:
        """`cover 18:00 22:00`, `cover 22:00`, with a person who is asked, or without."""
        times = [word for part in asked.words for word in part.split("-") if _CLOCK.fullmatch(word)]
        names = [word for word in asked.words if not _CLOCK.search(word)]
        person, team, more = await self._whom(names)
        if not 1 <= len(times) <= 2 or team or more or (names and not person):  # noqa: PLR2004  # from and to
            return asked.say("slack_cover_how")
        start = _moment(times[0], asked.now, asked.reader) if len(times) > 1 else asked.now
        cover = Cover("", asked.who.key, person, start, _moment(times[-1], start, asked.reader))
        made = await self._duty.make((cover,), asked.who.key, Request(via="slack", form=asked.command.trigger_id))
        if isinstance(made, Refused):
            return asked.say(_COVERED.get(made, "slack_cover_how"))
        if not made:
            return asked.say("slack_cover_gone")
        return self._request(made[0], asked)

    def _request(self, cover: Cover, asked: Asked) -> Said:
        """Ask where it was written, so that whoever reads it can accept; times as Slack shows them to each reader."""
        reader = asked.reader
        text = reader.say(
            "slack_cover_asked",
            who=escaped(reader.who(cover.out)),
            start=_shown(cover.start),
            end=_shown(cover.end),
            whom=escaped(reader.who(cover.person)) if cover.person else reader.say("slack_anybody"),
        )
        button: Block = {
            "type": "button",
            "style": "primary",
            "action_id": ACCEPT,
            "value": str(cover.id),
            "text": plain_text(reader.say("slack_cover_accept")),
        }
        asks: list[Block] = [{"type": "actions", "elements": [button]}] if cover.state is CoverState.ASKED else []
        section: Block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
        return {"response_type": "in_channel", "text": text, "blocks": [section, *asks]}

    async def accept(self, number: str, who: Who, reader: Reader) -> Said:
        """Stand in, as somebody has asked; the request says then who does."""
        if not who.known:
            return {"text": reader.say("slack_unmapped")}
        cover = whole_number(number, _MOST_NUMBER) or 0
        changed = await self._duty.accept(cover, who.key, Request(via="slack"))
        if isinstance(changed, Refused):
            return {"text": reader.say(_COVERED.get(changed, "slack_cover_gone"))}
        if not changed:
            return {"text": reader.say("slack_cover_yours")}
        one = changed[0]
        values = {"start": _shown(one.start), "end": _shown(one.end)}
        out, stands_in = escaped(reader.who(one.out)), escaped(reader.who(one.person))
        text = reader.say("slack_cover_made", who=stands_in, out=out, **values)
        section: Block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
        return {"response_type": "in_channel", "replace_original": True, "text": text, "blocks": [section]}


def _length(text: str) -> timedelta | None:
    try:
        length = parse_duration(text)
    except ValueError:
        return None
    return timedelta(seconds=length) if 0 < length <= 86400 else timedelta(days=2)  # noqa: PLR2004  # refused as too long


def _moment(text: str, after: datetime, reader: Reader) -> datetime:
    """Give the next moment with this time of day, where the reader lives."""
    hour, _, minute = text.partition(":")
    here = after.astimezone(ZoneInfo(reader.zone))
    at = here.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
    at = at if at > here else at + timedelta(days=1)
    return at.astimezone(UTC)


def _shown(at: datetime) -> str:
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{at:%Y-%m-%d %H:%M} UTC>"
