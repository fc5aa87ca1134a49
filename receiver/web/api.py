"""The API of incidents: list, show, acknowledge, resolve, undo a resolve."""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from process.web import BodyError, Handler, problem, read_body, refused, whole_number
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource, Seen
from receiver.incident.model import Entry, Incident, State
from receiver.messages.i18n import Reader
from receiver.messages.render import respond_by
from receiver.messages.timeline import entry_text
from receiver.store.base import Store, StoreError
from receiver.web.access.viewer import VIEWER

LIMIT = 64 * 1024
SHOWN = (
    *("id", "state", "priority", "title", "team", "opened_at", "acknowledged_at", "acknowledged_by"),
    *("resolved_at", "resolved_by", "breached_at", "paused", "flapping", "reopened", "drill"),
    "unlisted",
)
CLOCKS_SHOWN = ("next_due_at", "acknowledged_until")
_REFUSED = {
    ActionResult.UNCONFIRMED: "firing: {count} alerts fire; send that number to resolve it all the same",
    ActionResult.OUTDATED: "its alerts fire again, in another incident",
    ActionResult.TOO_LATE: "nothing to undo: a resolve by hand can be undone for 60 seconds",
    ActionResult.ENDED: "nothing to undo: its alerts have ended since it was resolved",
}
_ACTOR = 100  # characters
_PAGE = 1000  # incidents in one answer


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who acts on an incident, and what they know of it."""

    actor: str = ""
    firing: Annotated[int, msgspec.Meta(ge=0)] | None = None  # alerts that whoever resolves it knows to fire


class IncidentApi:
    """See the routes."""

    def __init__(self, store: Store, actions: Actions, guard: Middleware) -> None:
        self._store, self._actions, self._guard = store, actions, guard

    def application(self, more: Iterable[web.RouteDef] = ()) -> web.Application:
        """Build what is served below /api/v1, with ``more`` behind the same guard."""
        app = web.Application(middlewares=[self._guard, _answer_errors])
        app.add_routes(
            [
                web.get("/incidents", self.list),
                web.get("/incidents/{id}", self.show),
                web.post("/incidents/{id}/{action:acknowledge|resolve|undo}", self.act),
                *more,
            ]
        )
        return app

    async def list(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents?state=triggered&limit=100: the newest first."""
        state, limit = request.query.get("state"), request.query.get("limit", "100")
        if state is not None and state not in {State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED}:
            return problem(400, f"state: invalid {state!r} (expected triggered, acknowledged or resolved)")
        number = whole_number(limit, _PAGE)
        if not number:
            return problem(400, f"limit: expected a number from 1 to {_PAGE}")
        incidents = await self._store.incidents(state, number)
        return web.json_response({"incidents": [_view(incident) for incident in incidents]})

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}: one incident, its alerts and its timeline."""
        stored = await self._store.incident(incident_number(request))
        if stored is None:
            return unknown_incident(request)
        incident, timeline = stored
        alerts = msgspec.to_builtins(sorted(incident.alerts.values(), key=lambda a: a.starts_at))
        reader = Reader(name_of=self._actions.name_of)
        lines = [_entry(entry, reader) for entry in timeline]
        return web.json_response({**_view(incident), "alerts": alerts, "timeline": lines})

    async def act(self, request: web.Request) -> web.Response:
        """POST /api/v1/incidents/{id}/acknowledge|resolve|undo with {"actor": "who"}: idempotent.

        A resolve with {"firing": 3} is refused with 409 if more alerts fire. So is an undo of what cannot be undone.
        """
        try:
            answer = msgspec.json.decode(await read_body(request, LIMIT) or b"{}", type=Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return problem(400, f'invalid body (expected {{"actor": "your name"}} or nothing): {error}')
        action, claimed, viewer = Action(request.match_info["action"]), answer.actor[:_ACTOR], request.get(VIEWER)
        actor = viewer.acts_as(claimed) if viewer else claimed
        result, incident = await self._actions.apply(
            ActionSource.API, incident_number(request), action, actor or "api", Seen(firing=answer.firing)
        )
        if incident is None:
            return unknown_incident(request)
        if result in _REFUSED:
            return problem(409, _REFUSED[result].format(count=incident.firing_count))
        return web.json_response(_view(incident))


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BodyError as error:
        return refused(error)
    except StoreError:
        return problem(503, "the store does not answer; try again")


def incident_number(request: web.Request) -> int:
    """Read the number in the path; 0, which no incident has, if it is none."""
    text = request.match_info["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0  # noqa: PLR2004  # fits SQLite


def unknown_incident(request: web.Request) -> web.Response:
    """Answer 404."""
    return problem(404, f"no incident {request.match_info['id']}; GET /api/v1/incidents lists them")


def _entry(entry: Entry, reader: Reader) -> dict[str, object]:
    """One line of the timeline: its fields, and what they say in English."""
    view = {"at": entry.at, "kind": entry.kind, "data": entry.data, "actor": entry.actor}
    return {**msgspec.to_builtins(view), "text": entry_text(entry, reader)}


def _view(incident: Incident) -> dict[str, object]:
    """What the API shows of an incident; the rest is internal."""
    view = {name: msgspec.to_builtins(getattr(incident, name)) for name in SHOWN}
    view |= {name: msgspec.to_builtins(getattr(incident.clocks, name)) for name in CLOCKS_SHOWN}
    steps = incident.plan.steps
    next_roles = steps[min(incident.next_step, len(steps) - 1)].roles if incident.clocks.next_due_at else ()
    return {**view, "firing": len(incident.firing), "respond_by": respond_by(incident).isoformat(), "next": next_roles}
