"""The pages behind the signed links in messages: what is wrong, and buttons to acknowledge and resolve.

A GET only shows the page: mail scanners and chat previews open every URL (Safe Links, Slack), and none of them may
acknowledge an incident. The button's POST acts.
"""

import secrets

import jinja2
from aiohttp import web

from process.settings import Secret
from process.web import Handler
from receiver.actions.answer import Action, Actions, ActionSource
from receiver.messages.link import Grant, LinkError, read
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.web.api import respond_by

_GRANT = web.RequestKey("grant", Grant)


class AnswerPages:
    """See the routes."""

    def __init__(self, store: Store, actions: Actions, current: Current, link_secret: Secret) -> None:
        self._store, self._actions, self._current, self._link_secret = store, actions, current, link_secret
        self._pages = jinja2.Environment(
            loader=jinja2.PackageLoader("receiver.messages"),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def application(self) -> web.Application:
        """Build what is served below /answer."""
        app = web.Application(middlewares=[self.check_link])
        app.add_routes([web.get("/{token}", self.show), web.post("/{token}", self.press)])
        return app

    @web.middleware
    async def check_link(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer 403 to a link that grants nothing, and 503 when the store is away; both as a page."""
        try:
            token = request.match_info.get("token", "")
            request[_GRANT] = read(token, self._link_secret.reveal(), self._actions.clock())
            return await handler(request)
        except LinkError as error:
            return self._page("refused.html", 403, reason=str(error))
        except StoreError:
            return self._page("refused.html", 503, reason="The database does not answer. Try again in a minute.")

    async def show(self, request: web.Request) -> web.Response:
        """GET /answer/{token}: the incident and two buttons; changes nothing."""
        grant = request[_GRANT]
        stored = await self._store.incident(grant.incident)
        if stored is None:
            return self._page("refused.html", 404, reason="This incident is no longer stored.")
        incident, timeline = stored
        directory = self._current.routing.directory
        person = directory.key(grant.person) or grant.person  # links of older versions carry the name
        return self._page(
            "answer.html",
            200,
            incident=incident,
            timeline=tuple(reversed(timeline)),
            person=directory.name(person),
            name_of=directory.name,
            respond_by=respond_by(incident),
        )

    async def press(self, request: web.Request) -> web.Response:
        """POST /answer/{token} with verb=acknowledge|resolve: acts, then shows the page again."""
        grant, verb = request[_GRANT], str((await request.post()).get("verb", ""))
        if verb not in set(Action):
            return self._page("refused.html", 400, reason="The request names no action. Press the button again.")
        actor = grant.person or "somebody with the link"
        await self._actions.apply(ActionSource.LINK, grant.incident, Action(verb), actor)
        raise web.HTTPSeeOther(request.rel_url.path)  # so that reloading the page does not press again

    def _page(self, name: str, status: int, **values: object) -> web.Response:
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
