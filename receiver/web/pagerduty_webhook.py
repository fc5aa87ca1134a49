"""Takes PagerDuty's webhooks, version 3: what somebody has done there, they have done here.

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
from receiver.actions.pagerduty_people import PagerDutyPeople
from receiver.channels.pagerduty import Settings
from receiver.clients.pagerduty import Agent, PagerDutyError
from receiver.clients.pagerduty_lookup import PagerDutyLookup
from receiver.incident.event import HandOver, Note, Unacknowledge
from receiver.incident.model import Origin
from receiver.store.base import StoreError

log = logging.getLogger(__name__)

LIMIT = 1024 * 1024
_ASSIGNEES = 10  # of one incident
_SIGNATURES = 10  # that one request may list
_ACTIONS = {"incident.acknowledged": Action.ACKNOWLEDGE, "incident.resolved": Action.RESOLVE}
_HANDED_OVER = {"incident.reassigned", "incident.delegated"}
_TRIES = 500  # client errors of PagerDuty end here: asked again, it would say the same
_NOT_FIXED = {"merge_resolve_reason"}  # merged into another incident is not resolved


class _Reason(msgspec.Struct, frozen=True):
    type: str = ""


class _Reference(msgspec.Struct, frozen=True):
    id: str = ""


class _Data(msgspec.Struct, frozen=True):
    incident_key: str | None = None
    resolve_reason: _Reason | None = None
    assignees: tuple[Agent, ...] = ()
    incident: _Reference | None = None  # of a note
    content: str = ""  # of a note


class _Event(msgspec.Struct, frozen=True):
    event_type: str
    id: str = ""
    agent: Agent | None = None
    data: _Data | None = None


class _Body(msgspec.Struct, frozen=True):
    event: _Event


_decoder = msgspec.json.Decoder(_Body)


class PagerDutyWebhook:
    """One endpoint. ``lookup`` asks for what the webhooks leave out; ``ours`` is the user by whom we write there."""

    def __init__(
        self, actions: Actions, secret: Secret, lookup: PagerDutyLookup | None = None, *, ours: str = ""
    ) -> None:
        self._actions, self._secret, self._lookup = actions, secret, lookup
        self._people = PagerDutyPeople(actions, lookup, ours)

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
        except PagerDutyError as error:
            log.warning("cannot ask PagerDuty about an event of type %s: %s", event.event_type[:60], error)
            if not 0 < error.status < _TRIES:
                return problem(503, "cannot ask PagerDuty about it; send it again")
        return web.Response(status=202)

    async def _apply(self, event: _Event) -> None:
        """Whatever is not a person is an echo of our own, or PagerDuty's timer, and says nothing about the incident."""
        results = ()  # type: tuple[ActionResult, ...]
        person = await self._people.name(event.agent)
        if person:
            results = await self._act(event, person, event.data or _Data())
        if not results:
            self._actions.count(ActionSource.PAGERDUTY, ActionResult.IGNORED)
            log.debug("ignored a PagerDuty event of type %s", event.event_type[:60])
        elif ActionResult.STUCK in results:  # sent again it would fail again, and end the subscription for all others
            log.error("%s at PagerDuty: an incident takes no answer, see above", event.event_type[:60])
        elif ActionResult.OUTDATED in results:
            log.info("%s at PagerDuty is of an earlier episode, and changes nothing", event.event_type[:60])

    async def _act(self, event: _Event, person: str, data: _Data) -> tuple[ActionResult, ...]:
        action, key = _ACTIONS.get(event.event_type), data.incident_key or ""
        form = f"pagerduty:{event.id}" if event.id else ""  # what is delivered twice is done once
        if action is not None:
            merged = data.resolve_reason is not None and data.resolve_reason.type in _NOT_FIXED
            if merged:
                return ()
            return await self._actions.apply_to_key(ActionSource.PAGERDUTY, key, action, person, form=form)
        if event.event_type == "incident.annotated" and data.incident is not None and self._lookup is not None:
            key = await self._lookup.key(data.incident.id)
        act = await self._meaning(event.event_type, person, data)
        return await self._actions.act_on_key(ActionSource.PAGERDUTY, key, act, form) if act is not None else ()

    async def _meaning(self, kind: str, person: str, data: _Data) -> Unacknowledge | HandOver | Note | None:
        if kind == "incident.unacknowledged":
            return Unacknowledge(person, Origin.PAGERDUTY)
        if kind == "incident.annotated" and data.content.strip():
            return Note(person, Origin.PAGERDUTY, data.content.strip())
        if kind in _HANDED_OVER:
            assignee = await self._people.chosen(data.assignees[:_ASSIGNEES])
            return HandOver(person, Origin.PAGERDUTY, person=assignee) if assignee else None
        return None


def build(settings: Settings, setup: InboundSetup) -> Inbound:
    """Serve the endpoint if a secret is set."""
    secret = setup.channel.optional_secret(".webhook_secret", settings.webhook_secret, settings.webhook_secret_file)
    if not secret:
        return Inbound()
    token = setup.channel.optional_secret(".api_token", settings.api_token, settings.api_token_file)
    lookup = None
    if token is not None:
        lookup = PagerDutyLookup(setup.channel.session, token, settings.api_url, settings.region)
        setup.channel.closing.callback(lookup.close)
    return Inbound(routes=PagerDutyWebhook(setup.actions, secret, lookup, ours=settings.from_).routes())


def is_signed(secret: Secret, body: bytes, header: str) -> bool:
    """Say whether PagerDuty signed this; it lists several signatures while a secret is being replaced.

    developer.pagerduty.com/docs/webhooks/webhook-signatures.
    """
    expected = "v1=" + hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()
    listed = [one.strip().encode("utf-8", "replace") for one in header.split(",")[:_SIGNATURES]]
    return any([hmac.compare_digest(expected.encode(), one) for one in listed])  # noqa: C419  # all, in constant time
