"""The API of what people set for a while: covers of shifts, "I'm awake", maintenance windows."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from aiohttp import web

from process.web import BodyError, problem
from receiver.actions.answer import Actions, ActionSource
from receiver.actions.duty import Duty, WindowRefused
from receiver.actions.many import for_many
from receiver.incident.event import Acknowledge, Unacknowledge
from receiver.incident.group import shared_labels
from receiver.incident.model import Incident, Origin
from receiver.oncall.cover import Changed, Cover, Refused
from receiver.store.base import Store
from receiver.store.duty import MadeWindow
from receiver.web.access.viewer import VIEWER, Role
from receiver.web.incident_acts import (
    Name,
    Who,
    actor_of,
    incident_number,
    read,
    request_of,
    unknown_incident,
    utc,
)

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Reason = Annotated[str, msgspec.Meta(max_length=500)]
_SHARED_LABELS = 20


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From one moment to another."""

    start: Moment
    end: Moment


class Covering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``person`` stands in for ``out`` on ``schedule``.

    Without ``out``, ``person`` takes the pager from everybody on the schedule; without ``schedule``, the cover is of
    whatever ``out`` holds; without ``person``, whoever accepts first stands in. With ``swap``, ``out`` stands in for
    ``person`` then.
    """

    start: Moment
    end: Moment
    schedule: Name = ""
    out: Name = ""
    person: Name = ""
    reason: Reason = ""
    swap: Period | None = None
    actor: str = ""


class Maintaining(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Matchers as Alertmanager's; of an incident, the labels that its alerts share are taken if there are none."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=10080)]
    matchers: Annotated[tuple[str, ...], msgspec.Meta(max_length=20)] = ()
    reason: Reason = ""
    actor: str = ""


_COVER_REFUSED = {
    Refused.UNKNOWN: (404, "there is no such cover, or it has ended"),
    Refused.PERSON: (400, "person, out: unknown, or the same person"),
    Refused.SCHEDULE: (400, "schedule: unknown; without one, name `out`"),
    Refused.TIMES: (400, "start, end: a cover ends after it begins, lasts 31 days at most and ends within a year"),
    Refused.AWAY: (409, "who would stand in is on vacation then"),
    Refused.OVERLAPS: (409, "another cover of the same place is active at that time; cancel that first"),
    Refused.TOO_LATE: (409, "somebody else has accepted it, or it was cancelled"),
    Refused.NOT_YOURS: (403, "it is for those whose shifts these are, and for administrators"),
    Refused.TOO_MANY: (409, "there are too many covers that have not ended"),
}
_WINDOW_REFUSED = {
    WindowRefused.TIMES: "minutes: a window lasts 7 days at most",
    WindowRefused.MATCHERS: 'matchers: expected 1 to 20 such as alertname="HighLoad", and not all alerts',
    WindowRefused.TOO_MANY: "there are too many windows that have not ended",
}


class DutyApi:
    """See the routes. ``view`` is what is answered of an incident."""

    def __init__(
        self, duty: Duty, actions: Actions, store: Store, view: Callable[[Incident], dict[str, object]]
    ) -> None:
        self._duty, self._actions, self._store, self._view = duty, actions, store, view

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints, below /api/v1."""
        return [
            web.get("/covers", self.covers),
            web.post("/covers", self.cover),
            web.post("/covers/{id}/{what:accept|cancel}", self.settle),
            web.get("/awake", self.awake),
            web.post("/awake", self.stay_awake),
            web.delete("/awake", self.sleep),
            web.post("/awake/{decision:keep|giveback}", self.taken),
            web.get("/windows", self.windows),
            web.delete("/windows/{id}", self.end_window),
            web.post("/windows", self.add_window),
            web.post("/incidents/{id}/maintenance", self.maintain),
        ]

    async def covers(self, _request: web.Request) -> web.Response:
        """GET /api/v1/covers: those that have not ended, asked and cancelled ones too."""
        return web.json_response({"covers": [self._cover(one) for one in await self._duty.covers()]})

    async def cover(self, request: web.Request) -> web.Response:
        """POST /api/v1/covers: active at once if nobody need be asked."""
        body = await read(request, Covering)
        cover = Cover(
            schedule=body.schedule,
            out=body.out,
            person=body.person,
            start=utc("start", body.start),
            end=utc("end", body.end),
            reason=body.reason,
        )
        made: tuple[Cover, ...] = (cover,)
        if body.swap is not None:
            if not (body.out and body.person):
                raise BodyError(400, "bad_body", "swap: name both out and person")
            start, end = utc("swap.start", body.swap.start), utc("swap.end", body.swap.end)
            other = msgspec.structs.replace(cover, out=body.person, person=body.out, start=start, end=end)
            made = (cover, other)
        changed = await self._duty.make(made, actor_of(request, body), request_of(request), by_admin=_is_admin(request))
        return self._changed(changed, 201)

    async def settle(self, request: web.Request) -> web.Response:
        """POST /api/v1/covers/{id}/accept or cancel: the first to accept has it."""
        actor, number = actor_of(request, await read(request, Who)), incident_number(request)
        settle = self._duty.accept if request.match_info["what"] == "accept" else self._duty.cancel
        return self._changed(await settle(number, actor, request_of(request), by_admin=_is_admin(request)), 200)

    def _changed(self, changed: Changed, status: int) -> web.Response:
        if isinstance(changed, Refused):
            return problem(*_COVER_REFUSED[changed])
        return web.json_response({"covers": [self._cover(one) for one in changed]}, status=status)

    def _cover(self, cover: Cover) -> dict[str, object]:
        shown: dict[str, object] = {name: getattr(cover, name) for name in Cover.__struct_fields__}
        return {**shown, "state": cover.state.value, **_times(cover.start, cover.end), "moved": self._duty.moved(cover)}

    async def awake(self, _request: web.Request) -> web.Response:
        """GET /api/v1/awake: who is awake, and until when."""
        awake = await self._duty.awake()
        return web.json_response({"awake": {person: until.isoformat() for person, until in awake.items()}})

    async def stay_awake(self, request: web.Request) -> web.Response:
        """POST /api/v1/awake: for half an hour, again for another; new P2 to P4 are taken quietly meanwhile."""
        return await self._set_awake(request, awake=True)

    async def sleep(self, request: web.Request) -> web.Response:
        """DELETE /api/v1/awake: not any more."""
        return await self._set_awake(request, awake=False)

    async def _set_awake(self, request: web.Request, *, awake: bool) -> web.Response:
        actor = actor_of(request, await read(request, Who))
        until = await self._duty.set_awake(actor, request_of(request), awake=awake)
        if until is None:
            return problem(400, "actor: only somebody in `people` can be awake")
        taken = await self._duty.taken_awake(actor)
        return web.json_response({"until": until.isoformat(), "taken": [one.id for one in taken]})

    async def taken(self, request: web.Request) -> web.Response:
        """POST /api/v1/awake/keep or giveback: all that was taken while awake."""
        actor, keeps = actor_of(request, await read(request, Who)), request.match_info["decision"] == "keep"
        event = Acknowledge(actor, Origin.API) if keeps else Unacknowledge(actor, Origin.API)
        taken = await self._duty.taken_awake(actor)
        asked = request_of(request)
        changed = await for_many(taken, lambda one: self._actions.act(ActionSource.API, one.id, event, asked))
        return web.json_response({"incidents": [self._view(one) for _, one in changed if one is not None]})

    async def windows(self, _request: web.Request) -> web.Response:
        """GET /api/v1/windows: maintenance that was made here and has not ended."""
        return web.json_response({"windows": [_window(one) for one in await self._duty.windows()]})

    async def add_window(self, request: web.Request) -> web.Response:
        """POST /api/v1/windows with {"matchers": [...], "minutes": 60}: what matches is recorded, and pages nobody."""
        body = await read(request, Maintaining)
        return await self._maintain(request, body, body.matchers, 0)

    async def maintain(self, request: web.Request) -> web.Response:
        """POST /api/v1/incidents/{id}/maintenance with {"minutes": 60}: of what fires in it, and what is like it."""
        body = await read(request, Maintaining)
        stored = await self._store.incident(incident_number(request))
        if stored is None:
            return unknown_incident(request)
        return await self._maintain(request, body, body.matchers or shared_matchers(stored[0]), stored[0].id)

    async def _maintain(
        self, request: web.Request, body: Maintaining, matchers: tuple[str, ...], incident: int
    ) -> web.Response:
        now, actor = self._actions.clock(), actor_of(request, body)
        end = now + timedelta(minutes=body.minutes)
        window = MadeWindow(matchers, now, end, actor, body.reason, incident)
        made = await self._duty.add_window(window, actor, request_of(request))
        if isinstance(made, WindowRefused):
            return problem(409 if made is WindowRefused.TOO_MANY else 400, _WINDOW_REFUSED[made])
        return web.json_response(_window(made), status=201)

    async def end_window(self, request: web.Request) -> web.Response:
        """DELETE /api/v1/windows/{id}: it ends now."""
        number, actor = incident_number(request), actor_of(request, await read(request, Who))
        if not await self._duty.end_window(number, actor, request_of(request)):
            return problem(404, "there is no such window, or it has ended")
        return web.json_response({"windows": [_window(one) for one in await self._duty.windows()]})


def shared_matchers(incident: Incident) -> tuple[str, ...]:
    """Give matchers of what fires in an incident, and of what has the same labels in common."""
    return tuple(f"{_quoted(name)}={_quoted(value)}" for name, value in shared_labels(incident)[:_SHARED_LABELS])


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _window(window: MadeWindow) -> dict[str, object]:
    shown: dict[str, object] = {name: getattr(window, name) for name in MadeWindow.__struct_fields__}
    return {**shown, "matchers": list(window.matchers), **_times(window.start, window.end)}


def _times(start: datetime, end: datetime) -> dict[str, object]:
    return {"start": start.isoformat(), "end": end.isoformat()}


def _is_admin(request: web.Request) -> bool:
    viewer = request.get(VIEWER)
    return viewer is not None and viewer.may(Role.ADMIN)
