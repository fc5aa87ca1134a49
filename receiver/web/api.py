"""The API of incidents: lists and shows them; `incident_acts` acts on them."""

from collections.abc import Iterable

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from process.web import BodyError, Handler, problem, refused, whole_number
from receiver.actions.answer import Actions
from receiver.incident.model import Entry, Incident, State
from receiver.messages.i18n import Reader
from receiver.messages.render import respond_by
from receiver.messages.timeline import entry_text
from receiver.store.base import IncidentFilter, Store, StoreError
from receiver.store.unreadable import UnreadableError
from receiver.web.conditional import tagged, version
from receiver.web.incident_acts import IncidentActs, incident_number, unknown_incident

SHOWN = (
    *("id", "state", "priority", "title", "team", "opened_at", "acknowledged_at", "acknowledged_by"),
    *("resolved_at", "resolved_by", "breached_at", "paused", "flapping", "reopened", "drill"),
    *("unlisted", "snoozed_until", "asked", "attached_to", "raised_by", "taken_awake"),
)
CLOCKS_SHOWN = ("next_due_at", "acknowledged_until")
_PAGE = 1000  # incidents in one answer
_MOST = 10**17  # fits SQLite
_STATES = (State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED)
_FILTERS = ("state", "priority", "team", "since")


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
                *IncidentActs(self._actions, view).routes(),
                *more,
            ]
        )
        return app

    async def list(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents?state=triggered&priority=P1&team=db&since=...&limit=100: the newest first.

        `next` is the `before` that goes on; a page may hold fewer than `limit`, the last one says null.
        """
        try:
            wanted = _filter(request)
        except ValueError as error:
            return problem(400, str(error))
        page = await self._store.listed(wanted)
        shown = [view(incident) for incident in page.incidents]
        return tagged(request, {"incidents": shown, "next": page.next})

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}: one incident, its alerts and its timeline."""
        stored = await self._store.incident(incident_number(request))
        if stored is None:
            return unknown_incident(request)
        incident, timeline = stored
        alerts = msgspec.to_builtins(sorted(incident.alerts.values(), key=lambda a: a.starts_at))
        reader = Reader(name_of=self._actions.name_of)
        lines = [_entry(entry, reader) for entry in timeline]
        return tagged(request, {**view(incident), "alerts": alerts, "timeline": lines}, version(incident, view))


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BodyError as error:
        return refused(error)
    except UnreadableError as error:
        return problem(503, str(error))
    except StoreError:
        return problem(503, "the store does not answer; try again")


def _filter(request: web.Request) -> IncidentFilter:
    """Read the parameters of a list; ValueError names the one that is wrong."""
    asked: dict[str, object] = {name: request.query[name] for name in _FILTERS if name in request.query}
    if asked.get("state", State.TRIGGERED) not in _STATES:
        raise ValueError("state: expected triggered, acknowledged or resolved")
    asked["limit"] = whole_number(request.query.get("limit", "100"), _PAGE)
    if not asked["limit"]:
        raise ValueError(f"limit: expected a number from 1 to {_PAGE}")
    if "before" in request.query:
        asked["before"] = whole_number(request.query["before"], _MOST)
        if not asked["before"]:
            raise ValueError("before: expected the `next` of the page before")
    try:
        return msgspec.convert(asked, IncidentFilter)
    except msgspec.ValidationError as error:
        raise ValueError(f"invalid query: {error}") from error


def _entry(entry: Entry, reader: Reader) -> dict[str, object]:
    """One line of the timeline: its fields, and what they say in English."""
    view = {"at": entry.at, "kind": entry.kind, "data": entry.data, "actor": entry.actor}
    return {**msgspec.to_builtins(view), "text": entry_text(entry, reader)}


def view(incident: Incident) -> dict[str, object]:
    """What the API shows of an incident; the rest is internal."""
    shown = {name: msgspec.to_builtins(getattr(incident, name)) for name in SHOWN}
    shown |= {name: msgspec.to_builtins(getattr(incident.clocks, name)) for name in CLOCKS_SHOWN}
    steps = incident.plan.steps
    next_roles = steps[min(incident.next_step, len(steps) - 1)].roles if incident.clocks.next_due_at else ()
    own = {"firing": len(incident.firing), "respond_by": respond_by(incident).isoformat()}
    return {**shown, **own, "step": incident.next_step, "next": next_roles}
