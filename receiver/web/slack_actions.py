"""Takes what Slack sends by HTTP, signed by Slack: POST /slack/interactivity (presses and forms), POST /slack/commands.

docs.slack.dev/authentication/verifying-requests-from-slack
"""

import logging
from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qs

import msgspec
from aiohttp import web
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier

from process.settings import Secret
from process.web import BodyError, problem, read_body, refused
from receiver.actions.inbound import Inbound, InboundLoop, InboundSetup
from receiver.channels.slack import Settings
from receiver.channels.slack_api import SlackApi
from receiver.store.base import StoreError
from receiver.web.slack_commands import SlackCommands
from receiver.web.slack_handler import SlackHandler
from receiver.web.slack_payload import INTERACTION, SlashCommand
from receiver.web.slack_people import SlackPeople
from receiver.web.slack_replies import SLACK, SlackReplies
from receiver.web.slack_socket import PERIOD, SlackSocket

log = logging.getLogger(__name__)

INTERACTIVITY, COMMANDS = "/slack/interactivity", "/slack/commands"
LIMIT = 256 * 1024
_STAMP = 11  # digits of a time in seconds since 1970
_REMEMBERED = 600.0  # seconds that a signature is remembered; the SDK takes requests up to 300 s old


class _Clock(SlackClock):
    """Our clock in the form that the SDK asks."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock().timestamp()


class SlackActions:
    """The two endpoints: nothing is read of what Slack has not signed."""

    def __init__(self, handler: SlackHandler, secret: Secret, clock: Callable[[], datetime]) -> None:
        self._handler, self._clock = handler, clock
        self._verifier = SignatureVerifier(secret.reveal(), _Clock(clock))
        self._seen: dict[str, float] = {}

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [web.post(INTERACTIVITY, self.press), web.post(COMMANDS, self.command)]

    async def press(self, request: web.Request) -> web.Response:
        """200 after the commit; 401 for a wrong signature, 400 for what is not an interaction, 503 to press again."""
        fields = await self._signed(request)
        if isinstance(fields, web.Response):
            return fields
        try:
            payload = INTERACTION.decode(fields.get("payload", ""))
        except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
            self._handler.refused()
            return problem(400, "payload: not a Slack interaction")
        try:
            return _answer(await self._handler.interaction(payload))
        except StoreError:
            return problem(503, "cannot store the answer; press again")

    async def command(self, request: web.Request) -> web.Response:
        """200 with what is shown to whoever wrote it; 401 for a wrong signature, 503 to write it again."""
        fields = await self._signed(request)
        if isinstance(fields, web.Response):
            return fields
        try:
            return _answer(await self._handler.command(msgspec.convert(fields, SlashCommand)))
        except StoreError:
            return problem(503, "cannot read the database; try again")

    async def _signed(self, request: web.Request) -> dict[str, str] | web.Response:
        """Read the fields of a form that Slack has signed."""
        try:
            body = await read_body(request, LIMIT)
        except BodyError as error:
            return refused(error)
        if not self._is_slack(request, body):
            self._handler.refused()
            return problem(401, "X-Slack-Signature: wrong or too old; check channels.slack.signing_secret")
        try:
            return {name: values[0] for name, values in parse_qs(body.decode()).items()}
        except ValueError:
            self._handler.refused()
            return problem(400, "expected a form")

    def _is_slack(self, request: web.Request, body: bytes) -> bool:
        """The signature must be right, recent, and never seen before: a button pressed twice is signed twice."""
        now = self._clock().timestamp()
        signature = request.headers.get("X-Slack-Signature", "")
        stamp = request.headers.get("X-Slack-Request-Timestamp", "")
        try:
            if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _STAMP):
                return False
            if not self._verifier.is_valid(body, stamp, signature):
                return False
        except (ValueError, TypeError):  # the SDK's int(), decode() and compare_digest() of what anybody may send
            return False
        self._seen = {one: at for one, at in self._seen.items() if at > now - _REMEMBERED}
        if signature in self._seen:
            return False
        self._seen[signature] = now
        return True


def _answer(content: dict[str, object]) -> web.Response:
    return web.json_response(content) if content else web.Response()


def handler_of(settings: Settings, setup: InboundSetup, hosts: tuple[str, ...] = SLACK) -> SlackHandler:
    """Make what stands behind both ways in."""
    channel, actions = setup.channel, setup.actions
    token = channel.optional_secret(".token", settings.token, settings.token_file)
    api = SlackApi(token, channel.session, settings.api_url) if token is not None else None
    people = SlackPeople(setup.current, actions.clock, api)
    commands = SlackCommands(actions, setup.store, setup.current, setup.duty, people)
    replies = SlackReplies(channel.session, hosts)
    return SlackHandler(actions, setup.store, setup.current, people, replies, commands, api)


def build(settings: Settings, setup: InboundSetup) -> Inbound:
    """Serve the endpoints, keep a connection, or both: whichever way Slack sends what is pressed."""
    if not settings.has_buttons:
        return Inbound()
    handler, inbound = handler_of(settings, setup), Inbound()
    if settings.interactive:
        secret = setup.channel.secret(".signing_secret", settings.signing_secret, settings.signing_secret_file)
        inbound = Inbound(routes=SlackActions(handler, secret, setup.actions.clock).routes())
    socket = settings.socket_mode
    if socket is None:
        return inbound
    token = setup.channel.secret(".socket_mode.app_token", socket.app_token, socket.app_token_file)
    kept = SlackSocket(handler, SlackApi(token, setup.channel.session, settings.api_url), setup.registry)
    return Inbound(inbound.routes, {"slack socket": InboundLoop(kept.run_once, PERIOD, kept.close)}, kept.close)
