"""Takes PagerDuty's webhooks, version 3: who acknowledged or resolved there has answered here.

developer.pagerduty.com/docs/webhooks/v3-overview. Three deliveries in a row that we refuse switch the subscription off
for a day, so whatever is signed is answered 2xx, understood or not.
"""

import logging

import msgspec
from aiohttp import web

from process.settings import Secret
from process.web import BodyError, problem, read_body, refused
from receiver.actions.answer import PAGERDUTY_PERSON, AnswerResult, Answers
from receiver.store.base import StoreError
from receiver.web import signature

log = logging.getLogger(__name__)

LIMIT = 1024 * 1024
_VERBS = {"incident.acknowledged": "acknowledge", "incident.resolved": "resolve"}
_NO_FIX = {"merge_resolve_reason"}  # merged into another incident is not resolved


class _Agent(msgspec.Struct, frozen=True):
    type: str = ""
    summary: str = ""


class _Reason(msgspec.Struct, frozen=True):
    type: str = ""


class _Data(msgspec.Struct, frozen=True):
    incident_key: str | None = None
    resolve_reason: _Reason | None = None


class _Event(msgspec.Struct, frozen=True):
    event_type: str
    agent: _Agent | None = None
    data: _Data | None = None


class _Body(msgspec.Struct, frozen=True):
    event: _Event


_decoder = msgspec.json.Decoder(_Body)


class PagerDutyAnswers:
    """One endpoint."""

    def __init__(self, answers: Answers, secret: Secret) -> None:
        self._answers, self._secret = answers, secret

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [web.post("/pagerduty/webhook", self.webhook)]

    async def webhook(self, request: web.Request) -> web.Response:
        """202 for all that is signed, 401 for what is not, 503 to be sent again."""
        try:
            body = await read_body(request, LIMIT)
        except BodyError as error:
            return refused(error)
        given = request.headers.get("X-PagerDuty-Signature", "")
        if not signature.pagerduty(self._secret.reveal(), body, given):
            self._answers.count("pagerduty", AnswerResult.REFUSED)
            return problem(401, "X-PagerDuty-Signature: is wrong; check channels.pagerduty.webhook_secret")
        try:
            event = _decoder.decode(body).event
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._answers.count("pagerduty", AnswerResult.IGNORED)
            return web.Response(status=202)
        try:
            await self._take(event)
        except StoreError:
            return problem(503, "the answer could not be stored; send it again")
        return web.Response(status=202)

    async def _take(self, event: _Event) -> None:
        """What no person did is an echo of our own, or PagerDuty's clock, and says nothing about the incident."""
        verb, agent, data = _VERBS.get(event.event_type, ""), event.agent or _Agent(), event.data or _Data()
        merged = data.resolve_reason is not None and data.resolve_reason.type in _NO_FIX
        number = await self._answers.by_key(data.incident_key or "")
        if not verb or agent.type != PAGERDUTY_PERSON or merged or not number:
            self._answers.count("pagerduty", AnswerResult.IGNORED)
            log.debug("a %s of PagerDuty changes nothing here", event.event_type[:60])
            return
        who = " ".join(agent.summary.split())[:100] or "somebody"
        await self._answers.take("pagerduty", number, verb, who, "PagerDuty")
