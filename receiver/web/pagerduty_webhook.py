"""Takes PagerDuty's webhooks, version 3: whoever acknowledged or resolved there has answered here.

developer.pagerduty.com/docs/webhooks/v3-overview. Three deliveries in a row that we refuse switch the subscription off
for a day, so whatever is signed is answered 2xx, understood or not.
"""

import hashlib
import hmac
import logging

import msgspec
from aiohttp import web

from process.settings import Secret
from process.web import BodyError, problem, read_body, refused
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource
from receiver.actions.inbound import Inbound, InboundSetup
from receiver.channels.pagerduty import Settings
from receiver.clients.pagerduty import Agent
from receiver.store.base import StoreError

log = logging.getLogger(__name__)

LIMIT = 1024 * 1024
_SIGNATURES = 10  # that one request may list
_ACTIONS = {"incident.acknowledged": Action.ACKNOWLEDGE, "incident.resolved": Action.RESOLVE}
_NOT_FIXED = {"merge_resolve_reason"}  # merged into another incident is not resolved


class _Reason(msgspec.Struct, frozen=True):
    type: str = ""


class _Data(msgspec.Struct, frozen=True):
    incident_key: str | None = None
    resolve_reason: _Reason | None = None


class _Event(msgspec.Struct, frozen=True):
    event_type: str
    agent: Agent | None = None
    data: _Data | None = None


class _Body(msgspec.Struct, frozen=True):
    event: _Event


_decoder = msgspec.json.Decoder(_Body)


class PagerDutyWebhook:
    """One endpoint."""

    def __init__(self, actions: Actions, secret: Secret) -> None:
        self._actions, self._secret = actions, secret

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [web.post("/pagerduty/webhook", self.webhook)]

    async def webhook(self, request: web.Request) -> web.Response:
        """202 for all that is signed, 401 for what is not, 503 to be sent again."""
        try:
            body = await read_body(request, LIMIT)
        except BodyError as error:
            return refused(error)
        if not is_signed(self._secret, body, request.headers.get("X-PagerDuty-Signature", "")):
            self._actions.count(ActionSource.PAGERDUTY, ActionResult.REFUSED)
            return problem(401, "X-PagerDuty-Signature: wrong; check channels.pagerduty.webhook_secret")
        try:
            event = _decoder.decode(body).event
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._actions.count(ActionSource.PAGERDUTY, ActionResult.IGNORED)
            return web.Response(status=202)
        try:
            await self._apply(event)
        except StoreError:
            return problem(503, "cannot store the answer; send it again")
        return web.Response(status=202)

    async def _apply(self, event: _Event) -> None:
        """Whatever is not a person is an echo of our own, or PagerDuty's timer, and says nothing about the incident."""
        action, data = _ACTIONS.get(event.event_type), event.data or _Data()
        person = event.agent.person if event.agent else ""
        merged = data.resolve_reason is not None and data.resolve_reason.type in _NOT_FIXED
        results, key = (), data.incident_key or ""  # type: tuple[ActionResult, ...], str
        if action is not None and person and not merged:
            results = await self._actions.apply_to_key(ActionSource.PAGERDUTY, key, action, person)
        if not results:
            self._actions.count(ActionSource.PAGERDUTY, ActionResult.IGNORED)
            log.debug("ignored a PagerDuty event of type %s", event.event_type[:60])
        elif ActionResult.OUTDATED in results:
            log.info("%s at PagerDuty is of an earlier episode, and changes nothing", event.event_type[:60])


def build(settings: Settings, setup: InboundSetup) -> Inbound:
    """Serve the endpoint if a secret is set."""
    secret = setup.channel.optional_secret(".webhook_secret", settings.webhook_secret, settings.webhook_secret_file)
    return Inbound(routes=PagerDutyWebhook(setup.actions, secret).routes()) if secret else Inbound()


def is_signed(secret: Secret, body: bytes, header: str) -> bool:
    """Say whether PagerDuty signed this; it lists several signatures while a secret is being replaced.

    developer.pagerduty.com/docs/webhooks/webhook-signatures.
    """
    expected = "v1=" + hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()
    listed = [one.strip().encode("utf-8", "replace") for one in header.split(",")[:_SIGNATURES]]
    return any([hmac.compare_digest(expected.encode(), one) for one in listed])  # noqa: C419  # all, in constant time
