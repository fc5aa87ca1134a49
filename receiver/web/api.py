"""Takes people's answers: acknowledge and resolve, by the API with its token, or by a signed link with a button.

A link's GET only shows a page: mail scanners and chat previews open every URL (Safe Links, Slack), and none of them
may acknowledge an incident. The button's POST acts.
"""

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import jinja2
import msgspec
from aiohttp import web

from process.settings import Secret
from process.web import BodyError, Handler, bearer_matches, problem, read_body, refused
from receiver.incident.event import Acknowledge, Resolve
from receiver.incident.machine import transition
from receiver.incident.model import Entry, Incident, State
from receiver.incident.policy import Policy
from receiver.messages.link import Grant, LinkError, read
from receiver.store.base import Store, StoreError

LIMIT = 64 * 1024
_SHOWN = (
    *("id", "state", "priority", "title", "team", "opened_at", "acknowledged_at", "acknowledged_by"),
    *("resolved_at", "resolved_by", "breached_at", "paused", "flapping", "reopened", "drill"),
)
_CLOCKS_SHOWN = ("next_due_at", "acknowledged_until")
_EVENTS: dict[str, type[Acknowledge | Resolve]] = {"acknowledge": Acknowledge, "resolve": Resolve}


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    actor: str = ""


class Actions:
    """The API and the pages behind the links."""

    def __init__(
        self, store: Store, policy: Policy, *, token: Secret, link_secret: Secret, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._policy, self._clock = store, policy, clock
        self._token, self._link_secret = token, link_secret
        self._pages = jinja2.Environment(
            loader=jinja2.PackageLoader("receiver.messages"),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [
            web.get("/api/v1/incidents", self._with_token(self.list)),
            web.get("/api/v1/incidents/{id}", self._with_token(self.show)),
            web.post("/api/v1/incidents/{id}/{verb:acknowledge|resolve}", self._with_token(self.answer)),
            web.get("/answer/{token}", self.page),
            web.post("/answer/{token}", self.press),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents?state=triggered&limit=100: the newest first."""
        state, limit = request.query.get("state"), request.query.get("limit", "100")
        if state is not None and state not in {State.TRIGGERED, State.ACKNOWLEDGED, State.RESOLVED}:
            return problem(400, f"state: {state!r} is none of triggered, acknowledged, resolved")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1000):  # noqa: PLR2004  # one page
            return problem(400, "limit: write a number from 1 to 1000")
        found = await self._store.incidents(state, int(limit))
        return web.json_response({"incidents": [_view(incident) for incident in found]})

    async def show(self, request: web.Request) -> web.Response:
        """GET /api/v1/incidents/{id}: one incident, its alerts and its timeline."""
        found = await self._find(request)
        if found is None:
            return _unknown(request)
        incident, timeline = found
        alerts = msgspec.to_builtins(sorted(incident.alerts.values(), key=lambda a: a.starts_at))
        lines = [msgspec.to_builtins(entry) for entry in timeline]
        return web.json_response({**_view(incident), "alerts": alerts, "timeline": lines})

    async def answer(self, request: web.Request) -> web.Response:
        """POST /api/v1/incidents/{id}/acknowledge|resolve with {"actor": "who"}: idempotent."""
        try:
            body = await read_body(request, LIMIT)
            given = msgspec.json.decode(body or b"{}", type=_Answer)
        except BodyError as error:
            return refused(error)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(400, f'the body is {{"actor": "your name"}} or empty: {error}')
        number = _number(request)
        incident = await self._act(number, request.match_info["verb"], given.actor[:100] or "api", "the API")
        return web.json_response(_view(incident)) if incident else _unknown(request)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """GET /answer/{token}: what is wrong, and two buttons; changes nothing."""
        return await self._granted(request, self._show)

    async def press(self, request: web.Request) -> web.StreamResponse:
        """POST /answer/{token} with verb=acknowledge|resolve: acts, then shows the page again."""
        return await self._granted(request, self._press)

    async def _granted(
        self, request: web.Request, handler: Callable[[web.Request, Grant], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request, read(request.match_info["token"], self._link_secret.reveal(), self._clock()))
        except LinkError as error:
            return self._render("refused.html", 403, reason=str(error))
        except StoreError:
            reason = "The receiver cannot read or write its memory now. Try again in a minute."
            return self._render("refused.html", 503, reason=reason)

    async def _show(self, _request: web.Request, grant: Grant) -> web.StreamResponse:
        found = await self._store.incident(grant.incident)
        if found is None:
            return self._render("refused.html", 404, reason="This incident is not known here any more.")
        incident, timeline = found
        return self._render(
            "answer.html",
            200,
            incident=incident,
            timeline=tuple(reversed(timeline)),
            person=grant.person,
            respond_by=_respond_by(incident),
        )

    async def _press(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        verb = str((await request.post()).get("verb", ""))
        if verb not in _EVENTS:
            return self._render("refused.html", 400, reason="The button did not say what to do. Press it again.")
        await self._act(grant.incident, verb, grant.person or "somebody with the link", "link")
        raise web.HTTPSeeOther(request.rel_url.path)  # so that a reload of the page does not press again

    async def _act(self, number: int, verb: str, actor: str, origin: str) -> Incident | None:
        now = self._clock()
        event = _EVENTS[verb](actor, origin)
        return await self._store.apply(number, partial(transition, event=event, policy=self._policy, now=now), now)

    async def _find(self, request: web.Request) -> tuple[Incident, tuple[Entry, ...]] | None:
        return await self._store.incident(_number(request))

    def _with_token(self, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            if not bearer_matches(request, self._token):
                return problem(401, "Authorization: the bearer token is missing or wrong; it is the api.token")
            try:
                return await handler(request)
            except StoreError:
                return problem(503, "the store does not answer; try again")

        return checked

    def _render(self, name: str, status: int, **values: object) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        page = self._pages.get_template(name).render(nonce=nonce, **values)
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'"
        headers = {
            "Content-Security-Policy": policy + "; frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",  # the URL is the credential
            "X-Robots-Tag": "noindex, nofollow",
            "Cache-Control": "no-store",
        }
        return web.Response(text=page, status=status, content_type="text/html", headers=headers)


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0  # noqa: PLR2004  # fits SQLite


def _unknown(request: web.Request) -> web.Response:
    return problem(404, f"there is no incident {request.match_info['id']}; GET /api/v1/incidents lists them")


def _respond_by(incident: Incident) -> datetime:
    began = incident.clocks.started_at or incident.opened_at or datetime.min.replace(tzinfo=UTC)
    return began + timedelta(seconds=incident.plan.response_time)


def _view(incident: Incident) -> dict[str, object]:
    """What the API shows of an incident; the rest is our own bookkeeping."""
    view = {name: msgspec.to_builtins(getattr(incident, name)) for name in _SHOWN}
    view |= {name: msgspec.to_builtins(getattr(incident.clocks, name)) for name in _CLOCKS_SHOWN}
    steps = incident.plan.steps
    next_roles = steps[min(incident.next_step, len(steps) - 1)].roles if incident.clocks.next_due_at else ()
    return {**view, "firing": len(incident.firing), "respond_by": _respond_by(incident).isoformat(), "next": next_roles}
