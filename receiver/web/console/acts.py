"""Takes what the forms of the pages post, hands it to the one funnel, and says what became of it."""

from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

import msgspec

from process.web import whole_number
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource, Seen
from receiver.incident.model import SOMEBODY, Incident
from receiver.incident.undo import moment_of
from receiver.web.console.layout import Viewing
from receiver.web.console.times import Times

MOST_AT_ONCE = 1000  # incidents that one press acknowledges
_MOST = 10**9  # alerts that a form may name
_MOST_MICROSECONDS = 10**16  # since 1970, that a form may name

_TEXTS = {
    ActionResult.UNKNOWN: "console_said_unknown",
    ActionResult.OUTDATED: "refused_older",
    ActionResult.UNCONFIRMED: "console_said_unconfirmed",
    ActionResult.TOO_LATE: "refused_too_late",
    ActionResult.ENDED: "refused_ended",
}


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
        known = act in set(Action) and result in set(ActionResult)
        count = whole_number(number, _MOST) if known else None
        return cls(act, result, count, text.startswith("all-")) if count is not None else None


def seen_by(incident: Incident | None, form: Mapping[str, str]) -> Seen:
    """Say what the person has seen, by the page that the form was on; the page Now says none of it."""
    begun, resolve = form.get("begun", ""), form.get("resolve", "")
    return Seen(
        incident.opening if incident else None,
        firing=whole_number(form.get("confirm", ""), _MOST) or 0,
        begun=whole_number(begun, _MOST) or 0 if begun else None,
        resolved_at=moment_of(whole_number(resolve, _MOST_MICROSECONDS) or 0) if resolve else None,
    )


async def press(actions: Actions, look: Viewing, number: int, act: str, form: Mapping[str, str]) -> ActionResult:
    """Do it to one incident."""
    source = ActionSource.LINK if look.viewer.via == "link" else ActionSource.CONSOLE
    actor = look.viewer.actor or SOMEBODY
    result, _ = await actions.apply(source, number, Action(act), actor, seen_by(None, form))
    return result


async def press_all(actions: Actions, look: Viewing, numbers: Iterable[int], act: str) -> Said:
    """Do it to several, one after the other: each is a transaction of its own, and counts if it changed something."""
    taken = 0
    for number in dict.fromkeys(numbers):
        taken += await press(actions, look, number, act, {}) is ActionResult.TAKEN
    return Said(act, ActionResult.TAKEN.value, taken, many=True)


def said_text(said: Said, incident: Incident | None, look: Viewing) -> str:
    """Say it to the person who pressed."""
    reader = look.reader
    if said.many:
        key = {"acknowledge": "console_said_all_acknowledged", "resolve": "console_said_all_resolved"}.get(said.act, "")
        return reader.say(key, count=said.number) if key else ""
    if said.result in _TEXTS or incident is None:
        return reader.say(_TEXTS.get(ActionResult(said.result), "console_said_unknown"))
    if said.act == Action.ACKNOWLEDGE:
        return _acknowledged(incident, look)
    return ""  # the page itself says that it is resolved, or open again


def _acknowledged(incident: Incident, look: Viewing) -> str:
    reader, until = look.reader, incident.clocks.acknowledged_until
    if incident.acknowledged_by != (look.viewer.actor or SOMEBODY):
        if not incident.acknowledged_by:
            return ""
        ago = reader.duration(look.now - (incident.acknowledged_at or look.now))
        return reader.say("console_said_joined", who=reader.who(incident.acknowledged_by), ago=ago)
    if until is None:
        return reader.say("console_you_have_it")
    return reader.say("console_you_have_it_until", until=Times(reader, look.now).clock(until))
