"""Takes the buttons that people press in Slack: POST /slack/interactivity, signed by Slack.

docs.slack.dev/interactivity/handling-user-interaction: an answer within three seconds, so the change is committed,
200 said, and what only the one who pressed should read goes to the response_url afterwards.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
from aiohttp import web
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from process.settings import Secret
from process.web import BodyError, problem, read_body, refused
from receiver.actions.answer import Action, ActionResult, Actions, ActionSource, Reference, Seen
from receiver.actions.inbound import Inbound, InboundSetup
from receiver.channels.slack import Settings
from receiver.channels.slack_blocks import escaped, reply
from receiver.incident.model import Incident, Opening, State
from receiver.incident.undo import UNDO_FOR, resolve_of
from receiver.messages.compose import reader_of
from receiver.messages.i18n import Reader
from receiver.messages.standing import status_text
from receiver.policy.current import Current
from receiver.store.base import StoreError

log = logging.getLogger(__name__)

LIMIT = 256 * 1024
_PATIENCE = aiohttp.ClientTimeout(total=5)
# What was pressed and cannot be done, and what is said of it.
_REFUSED = {
    ActionResult.OUTDATED: "slack_older",
    ActionResult.TOO_LATE: "slack_too_late",
    ActionResult.ENDED: "slack_ended",
}
_REMEMBERED = 600.0  # seconds that a signature is remembered; the SDK takes requests up to 300 s old


class _User(msgspec.Struct, frozen=True):
    id: str
    name: str = ""
    username: str = ""


class _Action(msgspec.Struct, frozen=True):
    action_id: str = ""
    value: str = ""


class _Payload(msgspec.Struct, frozen=True):
    type: str
    user: _User
    actions: tuple[_Action, ...] = ()
    response_url: str = ""


_decoder = msgspec.json.Decoder(_Payload)


class _Clock(SlackClock):
    """Our clock in the form that the SDK asks."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock().timestamp()


class SlackActions:
    """One endpoint; ``hosts`` are those that a response_url may be of."""

    def __init__(
        self,
        actions: Actions,
        secret: Secret,
        current: Current,
        session: aiohttp.ClientSession,
        hosts: tuple[str, ...] = ("hooks.slack.com",),
    ) -> None:
        self._actions, self._current, self._session, self._hosts = actions, current, session, hosts
        self._verifier = SignatureVerifier(secret.reveal(), _Clock(actions.clock))
        self._replies: set[asyncio.Task[None]] = set()
        self._seen: dict[str, float] = {}

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [web.post("/slack/interactivity", self.press)]

    async def press(self, request: web.Request) -> web.Response:
        """200 after the commit; 401 for a wrong signature, 400 for what is not an interaction, 503 to press again."""
        try:
            body = await read_body(request, LIMIT)
        except BodyError as error:
            return refused(error)
        if not self._is_slack(request, body):
            self._actions.count(ActionSource.SLACK, ActionResult.REFUSED)
            return problem(401, "X-Slack-Signature: wrong or too old; check channels.slack.signing_secret")
        try:
            payload = _decoder.decode(parse_qs(body.decode()).get("payload", [""])[0])
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
            self._actions.count(ActionSource.SLACK, ActionResult.REFUSED)
            return problem(400, "payload: not a Slack interaction")
        try:
            return await self._apply(payload)
        except StoreError:
            return problem(503, "cannot store the answer; press again")

    def _is_slack(self, request: web.Request, body: bytes) -> bool:
        """The signature must be right, recent, and never seen before: a button pressed twice is signed twice."""
        now = self._actions.clock().timestamp()
        signature = request.headers.get("X-Slack-Signature", "")
        stamp = request.headers.get("X-Slack-Request-Timestamp", "")
        try:
            if not (stamp.isascii() and stamp.isdigit() and self._verifier.is_valid(body, stamp, signature)):
                return False
        except (ValueError, TypeError):  # the SDK's int(), decode() and compare_digest() of what anybody may send
            return False
        self._seen = {one: at for one, at in self._seen.items() if at > now - _REMEMBERED}
        if signature in self._seen:
            return False
        self._seen[signature] = now
        return True

    async def _apply(self, payload: _Payload) -> web.Response:
        pressed = next((one for one in payload.actions if one.action_id in set(Action)), None)
        if payload.type != "block_actions" or pressed is None:
            self._actions.count(ActionSource.SLACK, ActionResult.IGNORED)  # a link was opened, or it is not ours
            return web.Response()
        action, reference = Action(pressed.action_id), await self._reference(pressed.value)
        who = known_as(slack_ids(self._current), payload.user.id, payload.user.name or payload.user.username)
        reader = reader_of(self._current.routing, who)
        if reference is None:
            self._actions.count(ActionSource.SLACK, ActionResult.UNKNOWN)
            self._reply(payload.response_url, {"text": reader.say("slack_unknown")})
            return web.Response()
        result, incident = await self._actions.apply(
            ActionSource.SLACK, reference.number, action, who, _seen(reference)
        )
        if incident is None:
            self._reply(payload.response_url, {"text": reader.say("slack_unknown")})
        else:
            told = _told(result, action, incident, reader, self._actions.clock())
            button = await self._actions.reference(incident)
            self._reply(payload.response_url, {"text": told} if told else _next(result, button, incident, reader))
        return web.Response()

    async def _reference(self, value: str) -> Reference | None:
        """Read what a button is of; one of an old version says only a number, and so answers to nothing."""
        if value.isascii() and value.isdigit():
            return Reference(int(value), opened=0) if len(value) < 18 else None  # noqa: PLR2004  # fits SQLite
        return await self._actions.find(value)

    def _reply(self, url: str, content: dict[str, object]) -> None:
        """Tell the one who pressed, if there is anything to tell; nothing depends on it."""
        if not content or urlsplit(url).hostname not in self._hosts:
            return
        task = asyncio.ensure_future(self._send(url, content))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    async def _send(self, url: str, content: dict[str, object]) -> None:
        reply = {"response_type": "ephemeral", "replace_original": False, **content}
        try:
            async with self._session.post(url, json=reply, timeout=_PATIENCE, allow_redirects=False) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            log.info("cannot reply in Slack to whoever pressed the button")


def build(settings: Settings, setup: InboundSetup) -> Inbound:
    """Serve the endpoint if messages have buttons."""
    if not settings.interactive:
        return Inbound()
    secret = setup.channel.secret(".signing_secret", settings.signing_secret, settings.signing_secret_file)
    actions = SlackActions(setup.actions, secret, setup.current, setup.channel.session)
    return Inbound(routes=actions.routes())


def slack_ids(current: Current) -> dict[str, str]:
    """Give the keys of people by their Slack id; an id that two people share is left out."""
    owners: dict[str, set[str]] = {}
    for key, person in current.routing.people.items():
        for contact in person.contacts:
            if contact.channel == "slack":
                owners.setdefault(contact.address, set()).add(key)
    return {address: next(iter(keys)) for address, keys in owners.items() if len(keys) == 1}


def known_as(slack_ids: dict[str, str], user: str, name: str) -> str:
    """Name the person of a Slack id; somebody who is not in the settings may answer all the same."""
    return slack_ids.get(user) or f"slack:{user[:20]} ({' '.join(name.split())[:60] or 'unknown'})"


def _seen(reference: Reference) -> Seen:
    """Say what the one who pressed has seen; a button of an older version tells no more than when it opened."""
    fired = reference.opened if reference.episode is None else reference.episode
    opening = Opening(reference.opened, fired)
    return Seen(opening, reference.firing or 0, reference.begun, reference.resolved_at)


def _told(result: ActionResult, action: Action, incident: Incident, reader: Reader, now: datetime) -> str:
    """What the one who pressed cannot see in the channel."""
    number = incident.id
    if result in _REFUSED:
        return reader.say(_REFUSED[result], number=number, status=escaped(status_text(incident, reader, now)))
    if result is not ActionResult.ALREADY:
        return ""
    if incident.state is State.RESOLVED:
        return reader.say("slack_resolved", number=number)
    if action is not Action.ACKNOWLEDGE:
        return ""
    return reader.say("slack_joined", who=escaped(reader.who(incident.acknowledged_by)), number=number)


def _next(result: ActionResult, button: str, incident: Incident, reader: Reader) -> dict[str, object]:
    """What may be pressed next: to resolve what fires by now, and to undo a resolve."""
    if result is ActionResult.UNCONFIRMED:
        text = reader.say("resolve_firing", count=incident.firing_count)
        value = f"{button}.{incident.firing_count}.{incident.begun}"
        return reply(text, reader.say("resolve_anyway"), Action.RESOLVE.value, value)
    if result is ActionResult.TAKEN and incident.undo is not None:
        text = reader.say("slack_undo", number=incident.id, seconds=int(UNDO_FOR.total_seconds()))
        return reply(text, reader.say("undo"), Action.UNDO.value, f"{button}@{resolve_of(incident)}")
    return {}
