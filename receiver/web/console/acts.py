"""Takes what the forms of the pages post, hands it to the one funnel, and says what became of it."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from process.web import whole_number
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.actions.many import for_many
from receiver.incident.event import (
    Acknowledge,
    Answer,
    Attach,
    Detach,
    EscalateNow,
    HandOver,
    Note,
    Raise,
    Resolve,
    Snooze,
    TakeOver,
    Unacknowledge,
    UndoResolve,
)
from receiver.incident.model import SOMEBODY, Incident, Opening, Origin, Priority
from receiver.incident.undo import moment_of
from receiver.messages.i18n import one_line
from receiver.web.console.layout import Viewing
from receiver.web.console.times import Times

MAINTENANCE = "maintenance"  # which is no act of the incident, and is told of only if none was made
MOST_AT_ONCE = 1000  # incidents that one press acknowledges
LONGEST_TEXT = 2000  # characters of a note
_MOST = 10**9  # alerts that a form may name
_MOST_NUMBER = 10**17  # of an incident
_MOST_MINUTES = 1440  # of a snooze
_MOST_SECONDS = 10**11  # since 1970
_MOST_MICROSECONDS = 10**16

_TEXTS = {
    ActionResult.UNKNOWN: "console_said_unknown",
    ActionResult.OUTDATED: "refused_older",
    ActionResult.UNCONFIRMED: "console_said_unconfirmed",
    ActionResult.TOO_LATE: "refused_too_late",
    ActionResult.ENDED: "refused_ended",
    ActionResult.OVER: "console_said_over",
    ActionResult.OUT_OF_BOUNDS: "console_said_out_of_bounds",
    ActionResult.NOBODY: "console_said_nobody",
    ActionResult.NOT_ATTACHABLE: "console_said_not_attachable",
    ActionResult.STUCK: "refused_stuck",
}
_ALL = {
    "acknowledge": "console_said_all_acknowledged",
    "snooze": "console_said_all_snoozed",
    "attach": "console_said_all_attached",
    "resolve": "console_said_all_resolved",
}
# What is said of several, if it happened to one of them, in this order.
_NOT_ALL = {
    ActionResult.STUCK: "console_said_all_stuck",
    ActionResult.UNCONFIRMED: "console_said_all_unconfirmed",
}
_OWNING = frozenset({"acknowledge", "snooze", "takeover"})

Form = Mapping[str, str]


class Press(msgspec.Struct, frozen=True):
    """Who presses, when, on what: ``seen`` is which trouble it was, if the page was of one time of it only."""

    actor: str
    origin: Origin
    now: datetime
    seen: Opening | None = None


def _resolve(press: Press, form: Form) -> Answer:
    begun = form.get("begun", "")
    firing = whole_number(form.get("confirm", ""), _MOST) or 0
    known = whole_number(begun, _MOST) or 0 if begun else None
    return Resolve(press.actor, press.origin, press.seen, firing, known)


def _undo(press: Press, form: Form) -> Answer:
    resolve = form.get("resolve", "")
    at = moment_of(whole_number(resolve, _MOST_MICROSECONDS) or 0) if resolve else None
    return UndoResolve(press.actor, press.origin, press.seen, at)


def _snooze(press: Press, form: Form) -> Answer:
    """Until a moment in seconds since 1970, as `@1800000000`, or for so many minutes."""
    chosen = form.get("until", "")
    at = whole_number(chosen[1:], _MOST_SECONDS) if chosen.startswith("@") else None
    minutes = whole_number(chosen, _MOST_MINUTES) or 0
    until = datetime.fromtimestamp(at, press.now.tzinfo) if at else press.now + timedelta(minutes=minutes)
    return Snooze(press.actor, press.origin, until, press.seen)


def _hand_over(press: Press, form: Form) -> Answer:
    """Hand it to `person:linh` or `team:backend`."""
    kind, _, name = form.get("whom", "").partition(":")
    person, team = (name if kind == "person" else ""), (name if kind == "team" else "")
    return HandOver(press.actor, press.origin, person=person, team=team, seen=press.seen)


def _escalate(press: Press, form: Form) -> Answer:
    return EscalateNow(press.actor, press.origin, whole_number(form.get("step", ""), _MOST), press.seen)


def _note(press: Press, form: Form) -> Answer:
    return Note(
        press.actor, press.origin, form.get("text", "").strip()[:LONGEST_TEXT], bool(form.get("tell")), press.seen
    )


def _attach(press: Press, form: Form) -> Answer:
    to = whole_number(form.get("to", "").strip().lstrip("#"), _MOST_NUMBER) or _MOST_NUMBER  # which is nobody's
    return Attach(press.actor, press.origin, to, press.seen)


ACTS: dict[str, Callable[[Press, Form], Answer]] = {
    "acknowledge": lambda press, _form: Acknowledge(press.actor, press.origin, press.seen),
    "unacknowledge": lambda press, _form: Unacknowledge(press.actor, press.origin, press.seen),
    "takeover": lambda press, _form: TakeOver(press.actor, press.origin, press.seen),
    "detach": lambda press, _form: Detach(press.actor, press.origin, press.seen),
    "snooze": _snooze,
    "handover": _hand_over,
    "escalate": _escalate,
    "note": _note,
    "attach": _attach,
    "resolve": _resolve,
    "undo": _undo,
}
BULK = ("acknowledge", "snooze", "attach", "resolve")


class Said(msgspec.Struct, frozen=True):
    """What became of a press, short enough for the query of the page that is shown next."""

    act: str
    result: str
    number: int  # of the incident, or how many there were
    many: bool = False

    @property
    def query(self) -> str:
        """Write it as a field of a query."""
        return urlencode({"said": f"{'all-' if self.many else ''}{self.act}.{self.result}.{self.number}"})

    @classmethod
    def read(cls, text: str) -> "Said | None":
        """Read it; None for anything else that a URL may hold."""
        act, _, rest = text.removeprefix("all-").partition(".")
        result, _, number = rest.partition(".")
        known = act in {*ACTS, MAINTENANCE} and result in set(ActionResult)
        count = whole_number(number, _MOST) if known else None
        return cls(act, result, count, text.startswith("all-")) if count is not None else None


async def press(  # the event, and what the audit log says of it
    actions: Actions, look: Viewing, number: int, act: str, form: Form, seen: Opening | None = None
) -> ActionResult:
    """Do it to one incident."""
    source, pressed = _source(look), Press(look.viewer.actor or SOMEBODY, Origin.CONSOLE, look.now, seen)
    event = ACTS[act](pressed, form)
    if isinstance(event, Note) and not one_line(event.text, LONGEST_TEXT):
        return ActionResult.IGNORED
    key = form.get("form", "") if isinstance(event, Note) else ""  # anything else means the same a second time
    request = Request(via=look.viewer.via, ip=look.address, form=key)
    return (await actions.act(source, number, event, request))[0]


async def press_all(actions: Actions, look: Viewing, numbers: Iterable[int], act: str, form: Form) -> Said:
    """Do it to several: each is a transaction of its own, and counts if it changed something.

    What still fires is not resolved: its own page asks first. How many such there are is said instead, and before
    that, how many take no answer at all.

    The first of those that are attached is the one that they are attached to.
    """
    wanted = list(dict.fromkeys(numbers))
    fields = {name: value for name, value in form.items() if name != "form"}
    if act == "attach":
        fields["to"], wanted = str(wanted[0]) if wanted else "", wanted[1:]
    results = await for_many(wanted, lambda number: press(actions, look, number, act, fields))
    said = next((one for one in _NOT_ALL if one in results), ActionResult.TAKEN)
    return Said(act, said.value, results.count(said), many=True)


async def raise_by_hand(actions: Actions, look: Viewing, form: Form) -> Incident | str:
    """Page a person or a team with a text; why not, if there is nobody to page, or nothing to say."""
    kind, _, name = form.get("whom", "").partition(":")
    text, priority = form.get("text", "").strip()[:LONGEST_TEXT], form.get("priority", "")
    nobody = look.reader.say("console_said_nobody")
    if not one_line(text, LONGEST_TEXT) or priority not in {plan.value for plan in look.routing.plans}:
        return nobody
    event = Raise(
        look.viewer.actor or SOMEBODY,
        Origin.CONSOLE,
        text,
        person=name if kind == "person" else "",
        team=name if kind == "team" else "",
        priority=Priority(priority),
    )
    request = Request(via=look.viewer.via, ip=look.address, form=form.get("form", ""))
    result, incident = await actions.raise_by_hand(_source(look), event, request)
    return incident or (look.reader.say("refused_not_raised") if result is ActionResult.STUCK else nobody)


def _source(look: Viewing) -> ActionSource:
    return ActionSource.LINK if look.viewer.via == "link" else ActionSource.CONSOLE


def said_text(said: Said, incident: Incident | None, look: Viewing) -> str:
    """Say it to the person who pressed; what the page itself shows needs no words."""
    reader = look.reader
    if said.many:
        key = _NOT_ALL.get(ActionResult(said.result)) or _ALL.get(said.act, "")
        return reader.say(key, count=said.number) if key else ""
    if said.act == MAINTENANCE:
        return reader.say("console_said_no_maintenance")
    if said.result in _TEXTS or incident is None:
        return reader.say(_TEXTS.get(ActionResult(said.result), "console_said_unknown"))
    if said.act in _OWNING:
        return _owned(incident, look)
    if said.act == "handover" and incident.asked is not None:
        return reader.say("console_said_asked", who=reader.who(incident.asked.person))
    return ""


def _owned(incident: Incident, look: Viewing) -> str:
    reader, until = look.reader, incident.clocks.acknowledged_until
    if incident.acknowledged_by != (look.viewer.actor or SOMEBODY):
        if not incident.acknowledged_by:
            return ""
        ago = reader.duration(look.now - (incident.acknowledged_at or look.now))
        return reader.say("console_said_joined", who=reader.who(incident.acknowledged_by), ago=ago)
    if until is None:
        return reader.say("console_you_have_it")
    return reader.say("console_you_have_it_until", until=Times(reader, look.now).clock(until))
