"""Takes replies to short messages and keys pressed in calls: POST /twilio/sms and /twilio/call, signed by Twilio.

twilio.com/docs/usage/webhooks/webhooks-security: HMAC-SHA1 with the auth token over the URL that Twilio was told,
followed by the names and values of the form, sorted. The signature has no time in it: the SID of the message or call
is remembered with what it did, so that a request that is sent again does nothing.
"""

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from process.settings import Secret
from process.web import BodyError, problem, read_body, refused
from receiver.actions.answer import ActionResult, Actions, ActionSource, Request
from receiver.actions.inbound import Inbound, InboundSetup
from receiver.channels.twilio import CallSettings, SmsSettings, code_of, gather, response, say
from receiver.incident.event import Acknowledge
from receiver.incident.model import Incident, Opening, Origin, State
from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader
from receiver.policy.current import Current
from receiver.store.base import Store, StoreError
from receiver.store.unreadable import UnreadableError

log = logging.getLogger(__name__)

KEY = "1"  # that acknowledges
_LIMIT = 64 * 1024  # bytes
_FIELDS = 200
_READ = 200  # characters of a reply
_CODE = re.compile(r"\b(\d{1,17}) ?-?([A-Za-z]{3})\b", re.ASCII)
_REFUSED = {ActionResult.OUTDATED: "twilio_outdated", ActionResult.STUCK: "refused_stuck"}
_HANG_UP = "<Hangup/>"
Form = dict[str, str]


class TwilioAnswers:
    """One way in: ``source`` is SMS or CALL, and ``url`` is the receiver's own, as Twilio was told."""

    def __init__(  # who asks, and what is answered by
        self, source: ActionSource, actions: Actions, store: Store, current: Current, token: Secret, url: str
    ) -> None:
        self._source, self._actions, self._store, self._current = source, actions, store, current
        self._token, self._url = token, url.rstrip("/")

    def routes(self) -> list[web.RouteDef]:
        """List the endpoint."""
        answer = self.reply if self._source is ActionSource.SMS else self.key
        return [web.post(f"/twilio/{self._source.value}", answer)]

    async def reply(self, request: web.Request) -> web.Response:
        """POST /twilio/sms: the code in a reply says which incident; the answer is a message."""
        form = await self._form(request)
        if isinstance(form, web.Response):
            return form
        number = form.get("From", "")
        person = self._person(number)
        reader = self._reader(person)
        found = _CODE.search(form.get("Body", "")[:_READ])
        try:
            stored = await self._store.incident(int(found[1])) if found else None
            incident = stored[0] if stored else None
            if person is None and not _was_told(incident, number):
                self._actions.count(self._source, ActionResult.REFUSED)  # a stranger gets no answer that we pay for
                return _twiml()
            if found is None or incident is None:
                self._actions.count(self._source, ActionResult.UNKNOWN)
                return _message(reader.say("twilio_unknown"))
            reference = await self._actions.reference(incident)
            if not hmac.compare_digest(code_of(reference, incident.id, self._token), found[1] + found[2].upper()):
                self._actions.count(self._source, ActionResult.OUTDATED)
                return _message(reader.say("twilio_outdated", number=incident.id))
            text = await self._acknowledge(incident.id, incident.opening, person, reader, form)
        except StoreError as error:
            text = reader.say(_failed(error))
        return _message(text)

    async def key(self, request: web.Request) -> web.Response:
        """POST /twilio/call?incident=...: the URL, which is signed as well, says which incident it was about."""
        form = await self._form(request)
        if isinstance(form, web.Response):
            return form
        person, query = self._person(form.get("To", "")), request.query.get("incident", "")
        reader = self._reader(person)
        if form.get("Digits") != KEY:
            self._actions.count(self._source, ActionResult.IGNORED)
            action = f"{self._url}/twilio/call?{request.rel_url.raw_query_string}"
            return _twiml(gather(action, say(reader.say("twilio_press"), reader.language)))
        try:
            reference = await self._actions.find(query)
            if reference is None or reference.episode is None:
                self._actions.count(self._source, ActionResult.UNKNOWN)
                return _twiml(say(reader.say("console_said_unknown"), reader.language), _HANG_UP)
            opening = Opening(reference.opened, reference.episode)
            text = await self._acknowledge(reference.number, opening, person, reader, form)
        except StoreError as error:
            text = reader.say(_failed(error))
        return _twiml(say(text, reader.language), _HANG_UP)

    async def _acknowledge(self, number: int, seen: Opening, person: str | None, reader: Reader, form: Form) -> str:
        """Acknowledge, and say what became of it."""
        sid = form.get("MessageSid" if self._source is ActionSource.SMS else "CallSid", "")[:64]
        who = (
            person
            or f"{self._source.value}:{_masked(form.get('From' if self._source is ActionSource.SMS else 'To', ''))}"
        )
        origin = Origin.SMS if self._source is ActionSource.SMS else Origin.CALL
        asked = Request(via=self._source.value, form=f"{self._source.value}:{sid}" if sid else "")
        result, incident = await self._actions.act(self._source, number, Acknowledge(who, origin, seen), asked)
        if result in _REFUSED:
            return reader.say(_REFUSED[result], number=number)
        if incident is None:
            return reader.say("console_said_unknown")
        if incident.state is State.RESOLVED:
            return reader.say("twilio_over", number=number)
        if incident.acknowledged_by == (person or who):
            return reader.say("twilio_yours", number=number)
        if incident.acknowledged_by:
            return reader.say("twilio_joined", number=number, who=reader.who(incident.acknowledged_by))
        return reader.say("twilio_outdated", number=number)  # it was sent again, and given back meanwhile

    async def _form(self, request: web.Request) -> Form | web.Response:
        """Read what Twilio posts; the answer if it is not Twilio, or makes no sense."""
        try:
            body = await read_body(request, _LIMIT)
            fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS)
        except BodyError as error:
            return refused(error)
        except ValueError:
            self._actions.count(self._source, ActionResult.REFUSED)
            return problem(400, "not a form")
        query = request.rel_url.raw_query_string
        url = f"{self._url}/twilio/{self._source.value}{f'?{query}' if query else ''}"
        if not is_signed(self._token, url, fields, request.headers.get("X-Twilio-Signature", "")):
            self._actions.count(self._source, ActionResult.REFUSED)
            hint = (
                f"X-Twilio-Signature: wrong; check channels.{self._source.value}.auth_token, and that Twilio asks {url}"
            )
            return problem(HTTPStatus.FORBIDDEN, hint)
        return dict(fields)

    def _person(self, number: str) -> str | None:
        """Give the key of the one person with this number."""
        people = self._current.routing.people
        has = {
            key
            for key, one in people.items()
            if any(way.channel in {"sms", "call"} and way.address == number for way in one.contacts)
        }
        return next(iter(has)) if len(has) == 1 else None

    def _reader(self, person: str | None) -> Reader:
        return reader_of(self._current.routing, person or "")


def is_signed(token: Secret, url: str, fields: Iterable[tuple[str, str]], signature: str) -> bool:
    """Say whether Twilio has signed this. It may sign the URL with the port or without it."""
    form = "".join(name + value for name, value in sorted(set(fields)))
    given = signature.encode("utf-8", "replace")
    return any([hmac.compare_digest(_signature(token, one + form), given) for one in _spelled(url)])  # noqa: C419  # all, in constant time


def _signature(token: Secret, text: str) -> bytes:
    return base64.b64encode(hmac.new(token.reveal().encode(), text.encode(), hashlib.sha1).digest())


def _spelled(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.netloc.removesuffix(f":{port}")
    rest = url.removeprefix(f"{parts.scheme}://{parts.netloc}")
    return f"{parts.scheme}://{host}{rest}", f"{parts.scheme}://{host}:{port}{rest}"


def _failed(error: StoreError) -> str:
    return "refused_unreadable" if isinstance(error, UnreadableError) else "refused_store"


def _was_told(incident: Incident | None, number: str) -> bool:
    """Say whether the incident went to this number, which is a team's or a route's."""
    told = incident.delivery.told if incident else ()
    return any(target.channel in {"sms", "call"} and target.address == number for target in told)


def _masked(number: str) -> str:
    return f"…{number[-4:]}" if re.fullmatch(r"\+?\d{5,15}", number) else "unknown"


def _message(text: str) -> web.Response:
    return _twiml(f"<Message>{_escaped(text)}</Message>")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _twiml(*parts: str) -> web.Response:
    return web.Response(text=response(*parts), content_type="text/xml")


def build_sms(settings: SmsSettings, setup: InboundSetup) -> Inbound:
    """Serve replies."""
    token = setup.channel.secret(".auth_token", settings.auth_token, settings.auth_token_file)
    return _inbound(ActionSource.SMS, token, setup)


def build_call(settings: CallSettings, setup: InboundSetup) -> Inbound:
    """Serve keys."""
    token = setup.channel.secret(".auth_token", settings.auth_token, settings.auth_token_file)
    return _inbound(ActionSource.CALL, token, setup)


def _inbound(source: ActionSource, token: Secret, setup: InboundSetup) -> Inbound:
    url = setup.channel.external_url
    return Inbound(TwilioAnswers(source, setup.actions, setup.store, setup.current, token, url).routes())
