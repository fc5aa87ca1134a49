"""The API of acts: reads what a program wants done to an incident, hands it to the one funnel, and answers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from process.web import BodyError, problem, read_body
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
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
from receiver.incident.model import Incident, Origin, Priority
from receiver.messages.i18n import one_line
from receiver.web.access.viewer import ADDRESS, VIEWER
from receiver.web.conditional import as_seen, version

LIMIT = 64 * 1024
LONGEST_KEY = 200  # characters of Idempotency-Key
_ACTOR = 100  # characters

B = TypeVar("B", bound=msgspec.Struct)
Name = Annotated[str, msgspec.Meta(max_length=100)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class Who(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who acts; a token of a person acts for that person."""

    actor: str = ""


class Resolving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``firing``: alerts that whoever resolves it knows to fire."""

    actor: str = ""
    firing: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Snoozing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Until a moment, or for so many minutes from now: one of the two."""

    actor: str = ""
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] | None = None


class HandingOver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To a person, who is asked, or to a team: one of the two."""

    actor: str = ""
    person: Name = ""
    team: Name = ""


class Escalating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``step``: the incident's `step` as it was seen; if it is another one by now, nothing happens."""

    actor: str = ""
    step: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Noting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``tell``: those who were told of the incident, too."""

    text: Text
    actor: str = ""
    tell: bool = False


class Attaching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``to``: the number of the incident that speaks for this one from now on."""

    to: Annotated[int, msgspec.Meta(ge=1, lt=10**17)]
    actor: str = ""


class Raising(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Page a person or a team with a text; without either, the default team."""

    text: Text
    actor: str = ""
    person: Name = ""
    team: Name = ""
    priority: Priority = Priority.P1


class Act(msgspec.Struct, frozen=True):
    """One act: what its body is, and the event that it means for an actor at a moment."""

    body: type[msgspec.Struct]
    event: Callable[[Any, str, datetime], Answer]
    about: str


_API = Origin.API


def _snooze(body: Snoozing, actor: str, now: datetime) -> Snooze:
    if (body.until is None) == (body.minutes is None):
        raise BodyError(400, "bad_body", "give either until or minutes")
    until = body.until or now + timedelta(minutes=body.minutes or 0)
    return Snooze(actor, _API, utc("until", until))


ACTS: dict[str, Act] = {
    "acknowledge": Act(Resolving, lambda _b, a, _n: Acknowledge(a, _API), "Acknowledge it; again changes nothing"),
    "unacknowledge": Act(Who, lambda _b, a, _n: Unacknowledge(a, _API), "Give it back: its step is paged again"),
    "snooze": Act(Snoozing, _snooze, "Acknowledge it until a moment; then it is paged again"),
    "takeover": Act(Who, lambda _b, a, _n: TakeOver(a, _API), "Take it, from whoever has it"),
    "handover": Act(
        HandingOver,
        lambda b, a, _n: HandOver(a, _API, person=b.person, team=b.team),
        "Ask a person to take it, or give it to a team",
    ),
    "escalate": Act(Escalating, lambda b, a, _n: EscalateNow(a, _API, b.step), "Page the next step's people now"),
    "note": Act(Noting, lambda b, a, _n: Note(a, _API, b.text, b.tell), "Write a line into its timeline"),
    "attach": Act(Attaching, lambda b, a, _n: Attach(a, _API, b.to), "Let another incident speak for it"),
    "detach": Act(Who, lambda _b, a, _n: Detach(a, _API), "Let it speak for itself again"),
    "resolve": Act(
        Resolving,
        lambda b, a, _n: Resolve(a, _API, firing=b.firing),
        "Resolve it; with `firing`, only if no more alerts than that fire",
    ),
    "undo": Act(Resolving, lambda _b, a, _n: UndoResolve(a, _API), "Take a resolve by hand back, for 60 seconds"),
}
_CONFLICTS = {
    ActionResult.UNCONFIRMED: "firing: {count} still firing; send that number to resolve it all the same",
    ActionResult.OUTDATED: "its alerts fire again, in another incident",
    ActionResult.TOO_LATE: "nothing to undo: a resolve by hand can be undone for 60 seconds",
    ActionResult.ENDED: "nothing to undo: its alerts have ended since it was resolved",
    ActionResult.OVER: "it is resolved; its timeline says what you wanted",
    ActionResult.NOT_ATTACHABLE: "to: not an open incident, or it is attached itself, or 200 are attached to it, "
    "or it is a drill and this one is not",
    ActionResult.OUT_OF_BOUNDS: "until: a snooze ends in the future and within 24 hours, of a P1 within 4",
    ActionResult.NOBODY: "no such person or team, or no way to reach them; name one of the two",
}

STUCK = (
    "an error of the receiver keeps this incident from changing, and nothing was stored; its log says why. "
    "If it is urgent, call whoever is needed"
)
_NOT_RAISED = (
    "an error of the receiver keeps it from paging anybody for this; its log says why. "
    "If it is urgent, call whoever is needed"
)


class IncidentActs:
    """See the routes. ``view`` is what is answered of an incident."""

    def __init__(self, actions: Actions, view: Callable[[Incident], dict[str, object]]) -> None:
        self._actions, self._view = actions, view

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints, below /api/v1."""
        return [
            web.post("/incidents", self.raise_),
            web.post(f"/incidents/{{id}}/{{action:{'|'.join(ACTS)}}}", self.act),
        ]

    async def act(self, request: web.Request) -> web.Response:
        """POST /api/v1/incidents/{id}/{act} with a JSON object: idempotent, a note with an Idempotency-Key.

        What cannot be done as things are now is refused with 409, what cannot be done at all with 400. 412: with
        If-Match, for an incident that has changed since it was read. 503: an error of ours, and nothing has happened.
        """
        act = ACTS[request.match_info["action"]]
        body = await read(request, act.body)
        event = act.event(body, actor_of(request, body), self._actions.clock())
        asked = msgspec.structs.replace(request_of(request), unchanged=as_seen(request, self._view))
        result, incident = await self._actions.act(ActionSource.API, incident_number(request), event, asked)
        if result is ActionResult.STUCK:
            return problem(503, STUCK)
        return self._answer(result, incident) if incident is not None else unknown_incident(request)

    async def raise_(self, request: web.Request) -> web.Response:
        """POST /api/v1/incidents with {"text": "...", "team": "..."}: 201, or 200 if the key was sent before."""
        body = await read(request, Raising)
        actor = actor_of(request, body)
        event = Raise(actor, _API, body.text, person=body.person, team=body.team, priority=body.priority)
        result, incident = await self._actions.raise_by_hand(ActionSource.API, event, request_of(request))
        if result is ActionResult.STUCK:
            return problem(503, _NOT_RAISED)
        if incident is None:
            return problem(400, _CONFLICTS[ActionResult.NOBODY])
        status = 201 if result is ActionResult.TAKEN else 200
        return web.json_response(self._view(incident), status=status, headers={"Location": f"incidents/{incident.id}"})

    def _answer(self, result: ActionResult, incident: Incident) -> web.Response:
        if result is ActionResult.CHANGED:
            return problem(412, "If-Match: the incident has changed since it was read; read it again")
        if result in _CONFLICTS:
            status = 400 if result in {ActionResult.OUT_OF_BOUNDS, ActionResult.NOBODY} else 409
            return problem(status, _CONFLICTS[result].format(count=incident.firing_count))
        return web.json_response(self._view(incident), headers={"ETag": f'"{version(incident, self._view)}"'})


def utc(field: str, at: datetime) -> datetime:
    """Give a moment in UTC; BodyError where the calendar ends, where no moment of another zone need be one in UTC."""
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise BodyError(400, "bad_body", f"{field}: no time that can be kept in UTC") from error


async def read(request: web.Request, kind: type[B]) -> B:
    """Read the body; BodyError says what is wrong with it."""
    try:
        body = msgspec.json.decode(await read_body(request, LIMIT) or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        named = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        raise BodyError(400, "bad_body", f"invalid body (expected an object with {named}): {error}") from error
    if not one_line(getattr(body, "text", "x"), 1):
        raise BodyError(400, "bad_body", "text: nothing that could be read")
    return body


def actor_of(request: web.Request, body: msgspec.Struct) -> str:
    """Give who acts: a program may say for whom it does."""
    viewer, claimed = request.get(VIEWER), str(getattr(body, "actor", ""))[:_ACTOR]
    return (viewer.acts_as(claimed) if viewer is not None else claimed) or ActionSource.API.value


def request_of(request: web.Request) -> Request:
    """Say by which way somebody acts; BodyError if the key is too long."""
    key, viewer = request.headers.get("Idempotency-Key", ""), request.get(VIEWER)
    if len(key) > LONGEST_KEY:
        raise BodyError(400, "bad_key", f"Idempotency-Key: longer than {LONGEST_KEY} characters")
    return Request(via=viewer.way if viewer is not None else "", ip=request.get(ADDRESS, ""), form=key)


def incident_number(request: web.Request) -> int:
    """Read the number in the path; 0, which no incident has, if it is none."""
    text = request.match_info["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0  # noqa: PLR2004  # fits SQLite


def unknown_incident(request: web.Request) -> web.Response:
    """Answer 404."""
    return problem(404, f"no incident {request.match_info['id']}; GET /api/v1/incidents lists them")
