"""The pages behind the signed links in messages: the console's page of an incident, for whom the message was sent to.

A GET only shows the page: mail scanners and chat previews open every URL (Safe Links, Slack), and none of them may
acknowledge an incident. The button's POST acts.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from aiohttp import web

from process.settings import Secret
from process.web import Handler, read_form
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource, Request
from receiver.incident.event import Acknowledge
from receiver.incident.model import SOMEBODY, Entry, Incident, Origin, State
from receiver.messages.i18n import Reader
from receiver.messages.link import DigestGrant, Grant, LinkError, Refusal, read, read_digest, sign
from receiver.messages.standing import status_text
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.store.silences import SilenceStore
from receiver.store.unreadable import UnreadableError
from receiver.web.access.viewer import ADDRESS, STILL_SIGNED_IN, Role, StillSignedIn, Viewer
from receiver.web.charts import ChartRoutes
from receiver.web.console import incident_page, now_page
from receiver.web.console.acts import ACTS, Said, press, said_text
from receiver.web.console.board import urgency
from receiver.web.console.layout import Layout, Viewing, view_of
from receiver.web.console.live import IncidentView
from receiver.web.console.stream import Streams

_MAX_FORM = 16 * 1024  # bytes
_MOST = 10**9  # alerts that a form may name
_MOST_MICROSECONDS = 10**16  # since 1970, that a form may name
_REFUSED = {
    ActionResult.OUTDATED: Refusal.OLDER,
    ActionResult.TOO_LATE: Refusal.TOO_LATE,
    ActionResult.ENDED: Refusal.ENDED,
    ActionResult.STUCK: Refusal.STUCK,
}
_FAULTS = {Refusal.STORE, Refusal.UNREADABLE, Refusal.STUCK}  # of the receiver
_UNDO = {Refusal.TOO_LATE, Refusal.ENDED}  # the link works, and the undo does not
_GRANT = web.RequestKey("grant", Grant)
_DIGEST = web.RequestKey("digest", DigestGrant)


class AnswerPages:
    """See the routes."""

    def __init__(  # noqa: PLR0913  # the composition root hands over every collaborator
        self,
        store: Store,
        actions: Actions,
        current: Current,
        link_secret: Secret,
        valid_for: float = 7 * 86400.0,
        *,
        layout: Layout,
        streams: Streams,
        silences: SilenceStore,
        charts: ChartRoutes | None = None,
        address: Callable[[web.Request], str] = lambda request: request.remote or "",
    ) -> None:
        """``address`` says where a request came from, as far as that can be believed."""
        self._store, self._actions, self._current, self._link_secret = store, actions, current, link_secret
        self._valid_for, self._layout, self._streams = valid_for, layout, streams
        self._charts, self._address, self._silences = charts, address, silences

    def application(self) -> web.Application:
        """Build what is served below /answer."""
        app = web.Application(middlewares=[self.check_link])
        app.add_routes([web.get("/digest/{token}", self.show_digest), web.post("/digest/{token}", self.press_digest)])
        app.add_routes([web.get("/{token}", self.show), web.get("/{token}/stream", self.stream)])
        app.add_routes([web.get("/{token}/timeline", self.timeline)])
        app.add_routes([web.get("/{token}/chart.{form:svg|png}", self.chart)])
        # The first is what pages of older versions post.
        app.add_routes([web.post("/{token}", self.press), web.post("/{token}/{act:[a-z]+}", self.press)])
        return app

    def short_routes(self) -> list[web.RouteDef]:
        """List the short address of the same pages, for links that are written by hand or by other programs."""
        return [web.get("/a/{token}", self.lead), web.get("/a/{token}/", self.lead)]

    async def lead(self, request: web.Request) -> web.Response:
        """GET /a/{token}/: leads to /answer/{token}, which says whether the link grants anything."""
        # Relative: a proxy may serve us below a path of its own.
        up = "../../" if request.path.endswith("/") else "../"
        headers = {
            "Location": f"{up}answer/{quote(request.match_info['token'], safe='')}",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",  # the path is a key
        }
        return web.Response(status=303, headers=headers)

    @web.middleware
    async def check_link(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer 403 to a link that grants nothing, and 503 when the store is away; both as a page."""
        person, request[ADDRESS] = "", self._address(request)
        try:
            token, secret, now = request.match_info.get("token", ""), self._link_secret.reveal(), self._actions.clock()
            if request.match_info.handler in {self.show_digest, self.press_digest}:
                person = (digest := read_digest(token, secret, now)).person
                request[_DIGEST] = digest
            else:
                person = (grant := read(token, secret, now)).person
                request[_GRANT] = grant
            if person and self._current.routing.directory.key(person) is None:
                return self._refuse(request, person, Refusal.LEFT, 403)
            return await handler(request)
        except LinkError as error:
            return self._refuse(request, error.person, error.refusal, 403)
        except UnreadableError:
            return self._refuse(request, person, Refusal.UNREADABLE, 503)
        except StoreError:
            return self._refuse(request, person, Refusal.STORE, 503)

    async def show(self, request: web.Request) -> web.Response:
        """GET /answer/{token}: the incident and two buttons; changes nothing."""
        grant = request[_GRANT]
        stored = await self._store.incident(grant.incident)
        if stored is None:
            return self._refuse(request, grant.person, Refusal.UNKNOWN, 404)
        refused = await self._outdated(request, grant, stored[0])
        if refused is not None:
            return refused
        return await self._show(request, grant, stored, asking=request.query.get("ask") == "resolve")

    async def _show(
        self, request: web.Request, grant: Grant, stored: tuple[Incident, tuple[Entry, ...]], *, asking: bool = False
    ) -> web.Response:
        look, token = self._look(request, grant.person, grant.incident), request.match_info["token"]
        said = Said.read(request.query.get("said", ""))
        values = {
            "notice": said_text(said, stored[0], look) if said else "",
            "act_at": f"{'../' if 'act' in request.match_info else ''}{token}/",
            "stream": f"answer/{token}/stream?after={self._streams.position}",
            **incident_page.values(*stored, look, await self._silences.of_incident(grant.incident), asking=asking),
        }
        return self._layout.page("incident.html", look, values)

    async def chart(self, request: web.Request) -> web.StreamResponse:
        """GET /answer/{token}/chart.svg: the picture on that page."""
        grant = request[_GRANT]
        stored = await self._store.incident(grant.incident)
        if stored is None or self._charts is None:
            return self._refuse(request, grant.person, Refusal.UNKNOWN, 404)
        refused = await self._outdated(request, grant, stored[0])
        return refused or await self._charts.picture(request, stored[0], self._reader(request, grant.person))

    async def timeline(self, request: web.Request) -> web.Response:
        """GET /answer/{token}/timeline?skip=200: older lines of its timeline."""
        grant = request[_GRANT]
        stored = await self._store.incident(grant.incident)
        if stored is None:
            return self._refuse(request, grant.person, Refusal.UNKNOWN, 404)
        refused = await self._outdated(request, grant, stored[0])
        if refused is not None:
            return refused
        look = self._look(request, grant.person, grant.incident)
        values = await incident_page.older_lines(self._store, stored[0], request.query, look)
        return self._layout.page("timeline.html", look, {"back": f"../{request.match_info['token']}", **values})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET /answer/{token}/stream: what changes of the incident."""
        grant = request[_GRANT]
        stored = await self._store.incident(grant.incident)
        refused = await self._outdated(request, grant, stored[0]) if stored else None
        if stored is None or refused is not None:
            return refused or self._refuse(request, grant.person, Refusal.UNKNOWN, 404)
        request[STILL_SIGNED_IN] = StillSignedIn(partial(self._still_grants, request.match_info["token"], grant))
        look = self._look(request, grant.person, grant.incident, levels=1)  # counted from where the page stands
        view = IncidentView(
            grant.incident,
            f"{request.match_info['token']}/",
            look,
            self._layout,
            self._store,
            self._silences,
            self._actions.clock,
        )
        return await self._streams.serve(request, view)

    async def _still_grants(self, token: str, grant: Grant) -> bool:
        """Say whether a link would still open the page: it ends by time, with the person, and when it fires again."""
        try:
            read(token, self._link_secret.reveal(), self._actions.clock())
        except LinkError:
            return False
        if grant.person and self._current.routing.directory.key(grant.person) is None:
            return False
        stored = await self._store.incident(grant.incident)
        installation = await self._store.installation()
        return stored is not None and grant.refusal(stored[0], installation, self._valid_for) is None

    async def press(self, request: web.Request) -> web.Response:
        """POST /answer/{token}/acknowledge|resolve|undo: acts, then shows the page again.

        A resolve while alerts fire is asked about first; ``confirm`` is how many of them the person has seen, ``begun``
        how many had begun by then. ``resolve`` names the resolve that is undone.
        """
        grant, form = request[_GRANT], await read_form(request, _MAX_FORM)
        verb = request.match_info.get("act") or form.get("verb", "")
        if verb not in ACTS:
            return self._refuse(request, grant.person, Refusal.NO_VERB, 400)
        stored = await self._store.incident(grant.incident)
        refused = await self._outdated(request, grant, stored[0]) if stored else None
        if refused is not None:
            return refused
        if stored is None:
            return self._refuse(request, grant.person, Refusal.UNKNOWN, 404)
        look = self._look(request, grant.person, grant.incident)
        result = await press(self._actions, look, grant.incident, verb, form, stored[0].opening)
        if result in _REFUSED:
            return await self._refused(request, grant, _REFUSED[result])
        if result is ActionResult.UNCONFIRMED:
            return await self._ask(request, grant)
        # So that reloading the page does not press again. Relative: a proxy may serve us below a path of its own.
        here = f"{'../' if 'act' in request.match_info else './'}{request.match_info['token']}"
        raise web.HTTPSeeOther(f"{here}?{Said(verb, result.value, grant.incident).query}")

    async def _ask(self, request: web.Request, grant: Grant) -> web.Response:
        stored = await self._store.incident(grant.incident)
        if stored is None:
            return self._refuse(request, grant.person, Refusal.UNKNOWN, 404)
        return await self._show(request, grant, stored, asking=stored[0].state is not State.RESOLVED)

    async def _refused(self, request: web.Request, grant: Grant, refusal: Refusal) -> web.Response:
        """Say why, and how the incident stands by now."""
        if refusal in _FAULTS:
            return self._refuse(request, grant.person, refusal, 503)
        stored = await self._store.incident(grant.incident)
        reader = self._reader(request, grant.person)
        since = status_text(stored[0], reader, self._actions.clock()) if stored else ""
        return self._refuse(request, grant.person, refusal, 409, since)

    async def _outdated(self, request: web.Request, grant: Grant, incident: Incident) -> web.Response | None:
        """Say what happened since, to a link of another database or of a time before it fired again."""
        refusal = grant.refusal(incident, await self._store.installation(), self._valid_for)
        if refusal is None:
            return None
        reader = self._reader(request, grant.person)
        since = status_text(incident, reader, self._actions.clock()) if refusal is Refusal.OLDER else ""
        return self._refuse(request, grant.person, refusal, 409 if refusal is Refusal.OLDER else 403, since)

    async def show_digest(self, request: web.Request) -> web.Response:
        """GET /answer/digest/{token}: the incidents of a digest and one button; changes nothing."""
        grant = request[_DIGEST]
        (incidents, lost), installation = await self._of_digest(grant), await self._store.installation()
        if not incidents:
            refusal, status = (Refusal.UNREADABLE, 503) if lost else (Refusal.UNKNOWN, 404)
            return self._refuse(request, grant.person, refusal, status)

        def link_of(incident: Incident) -> str:
            """Give the link of what the digest was of; empty for what has fired again since."""
            if not grant.has_seen(incident, self._valid_for):
                return ""
            token = sign(Grant.of(incident, grant.person, grant.expires, installation), self._link_secret.reveal())
            return f"../{token}"

        look = self._look(request, grant.person, 0)
        links = {incident.id: link_of(incident) for incident in incidents}
        in_order = sorted(incidents, key=urgency)
        rows = [(now_page.row_of(one, look.routing, look.reader, look.now), links[one.id]) for one in in_order]
        unanswered = sum(row.state == State.TRIGGERED and link != "" for row, link in rows)
        said = Said.read(request.query.get("said", ""))
        notices = [said_text(said, None, look)] if said else []
        notices += [look.reader.say("digest_unreadable", count=lost)] if lost else []
        values = {"rows": rows, "unanswered": unanswered, "notices": notices}
        return self._layout.page("digest.html", look, values)

    async def press_digest(self, request: web.Request) -> web.Response:
        """POST /answer/digest/{token} with verb=acknowledge: acknowledges what nobody has, then shows the page.

        What has fired again since the digest was written is left alone: nobody was told of that by it.
        """
        grant = request[_DIGEST]
        if (await read_form(request, _MAX_FORM)).get("verb", "") != Action.ACKNOWLEDGE:
            return self._refuse(request, grant.person, Refusal.NO_VERB, 400)
        actor = grant.person or SOMEBODY
        unanswered = [
            one
            for one in (await self._of_digest(grant))[0]
            if one.state is State.TRIGGERED and grant.has_seen(one, self._valid_for)
        ]
        asked = Request(via="link", ip=request[ADDRESS])
        answers = await asyncio.gather(
            *(
                self._actions.act(ActionSource.LINK, one.id, Acknowledge(actor, Origin.LINK, one.opening), asked)
                for one in unanswered
            )
        )
        stuck = sum(result is ActionResult.STUCK for result, _ in answers)
        said = f"?{Said(Action.ACKNOWLEDGE.value, ActionResult.STUCK.value, stuck, many=True).query}" if stuck else ""
        raise web.HTTPSeeOther(f"./{request.rel_url.name}{said}")

    async def _of_digest(self, grant: DigestGrant) -> tuple[list[Incident], int]:
        """Read the incidents of a digest, and count what cannot be read; none if it is of another database."""
        stored, lost = list[Incident | None](), 0
        for number in grant.incidents:
            try:
                found = await self._store.incident(number)
            except UnreadableError:
                lost += 1
            else:
                stored.append(found[0] if found else None)
        if not grant.is_ours(stored[0] if stored else None, await self._store.installation()):
            return [], 0
        return [one for one in stored if one is not None], lost

    def _refuse(
        self, request: web.Request, person: str, refusal: Refusal, status: int, since: str = ""
    ) -> web.Response:
        look, key = self._look(request, person, 0), "refused_undo" if refusal in _UNDO else "refused"
        reader = look.reader
        note = reader.say("refused_call" if refusal in _FAULTS else "refused_note")
        reason = reader.say(f"refused_{refusal.value}")
        values = {"heading": reader.say(key), "reason": reason, "since": since, "note": note}
        return self._layout.page("refused.html", look, values, status)

    def _look(self, request: web.Request, person: str, incident: int, levels: int = 0) -> Viewing:
        """Whoever the link was made for; the browser's language if it was sent to a place that many read."""
        key, routing = self._key(person) if person else "", self._current.routing
        viewer = Viewer(key, routing.directory.name(key) if key else "", Role.RESPONDER, "link", incident)
        below = levels or request.path.rpartition("/answer/")[2].count("/") + 1
        return view_of(viewer, request, routing, self._actions.clock(), below)

    def _reader(self, request: web.Request, person: str) -> Reader:
        return self._look(request, person, 0).reader

    def _key(self, person: str) -> str:
        return self._current.routing.directory.key(person) or person  # links of older versions carry the name
