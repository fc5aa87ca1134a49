"""Takes the buttons that people press in Slack: POST /slack/interactivity, signed by Slack.

docs.slack.dev/interactivity/handling-user-interaction: an answer within three seconds, so the change is committed,
200 said, and what only the one who pressed should read goes to the response_url afterwards.
"""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
from aiohttp import web

from process.settings import Secret
from process.web import BodyError, problem, read_body, refused
from receiver.actions.answer import AnswerResult, Answers, known_as
from receiver.incident.model import Incident, State
from receiver.store.base import StoreError
from receiver.web import signature

log = logging.getLogger(__name__)

LIMIT = 256 * 1024
_PATIENCE = aiohttp.ClientTimeout(total=5)
_VERBS = {"acknowledge": "acknowledged", "resolve": "resolved"}


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


class SlackAnswers:
    """One endpoint; ``people`` gives names by Slack id, ``hosts`` are those that a response_url may be of."""

    def __init__(
        self,
        answers: Answers,
        secret: Secret,
        people: Callable[[], dict[str, str]],
        session: aiohttp.ClientSession,
        hosts: tuple[str, ...] = ("hooks.slack.com",),
    ) -> None:
        self._answers, self._secret, self._people = answers, secret, people
        self._session, self._hosts = session, hosts
        self._replies: set[asyncio.Task[None]] = set()
        self._seen: dict[str, float] = {}

    def routes(self) -> list[web.RouteDef]:
        """List the endpoints."""
        return [web.post("/slack/interactivity", self.press)]

    async def press(self, request: web.Request) -> web.Response:
        """200 after the commit; 401 for a wrong signature, 400 for a form that is none, 503 to press again."""
        try:
            body = await read_body(request, LIMIT)
        except BodyError as error:
            return refused(error)
        if not self._is_slack(request, body):
            self._answers.count("slack", AnswerResult.REFUSED)
            return problem(401, "X-Slack-Signature: is wrong or old; check channels.slack.signing_secret")
        try:
            payload = _decoder.decode(parse_qs(body.decode()).get("payload", [""])[0])
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            self._answers.count("slack", AnswerResult.REFUSED)
            return problem(400, "payload: is no interaction of Slack's")
        try:
            return await self._answer(payload)
        except StoreError:
            return problem(503, "the answer could not be stored; press again")

    def _is_slack(self, request: web.Request, body: bytes) -> bool:
        """The signature must be right, young, and never seen before: a button pressed twice is signed twice."""
        now = self._answers.clock()
        given = request.headers.get("X-Slack-Signature", "")
        stamp = request.headers.get("X-Slack-Request-Timestamp", "")
        if not signature.slack(self._secret.reveal(), stamp, body, given, now):
            return False
        oldest = now.timestamp() - 2 * signature.OLDEST
        self._seen = {one: at for one, at in self._seen.items() if at > oldest}
        if given in self._seen:
            return False
        self._seen[given] = now.timestamp()
        return True

    async def _answer(self, payload: _Payload) -> web.Response:
        action = next((one for one in payload.actions if one.action_id in _VERBS), None)
        if payload.type != "block_actions" or action is None:
            self._answers.count("slack", AnswerResult.IGNORED)  # a link was opened, or something that is not ours
            return web.Response()
        value = action.value
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 18 else 0  # noqa: PLR2004  # fits
        who = known_as(self._people(), payload.user.id, payload.user.name or payload.user.username)
        outcome, incident = await self._answers.take("slack", number, action.action_id, who, "Slack")
        text = _told(outcome, action.action_id, incident)
        if text:
            self._reply(payload.response_url, text)
        return web.Response()

    def _reply(self, url: str, text: str) -> None:
        """Tell the one who pressed; nothing depends on it."""
        if urlsplit(url).hostname not in self._hosts:
            return
        task = asyncio.ensure_future(self._send(url, text))
        self._replies.add(task)
        task.add_done_callback(self._replies.discard)

    async def _send(self, url: str, text: str) -> None:
        said = {"response_type": "ephemeral", "replace_original": False, "text": text}
        try:
            async with self._session.post(url, json=said, timeout=_PATIENCE, allow_redirects=False) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            log.info("whoever pressed the button was not told in Slack what became of it")


def _told(outcome: AnswerResult, verb: str, incident: Incident | None) -> str:
    """What the one who pressed cannot see in the channel."""
    if incident is None:
        return "This incident is not known any more."
    if outcome is not AnswerResult.ALREADY:
        return ""
    if incident.state is State.RESOLVED:
        return f"#{incident.id} is resolved already; your answer changes nothing."
    holder = incident.acknowledged_by.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        f"{holder} has #{incident.id} already; you stand beside them in its timeline." if verb == "acknowledge" else ""
    )
