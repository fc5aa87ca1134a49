"""The channel `slack`: with a bot token one thread an incident, or an incoming webhook a channel without threads.

docs.slack.dev/reference/methods/chat.postMessage and chat.update. Scope: chat:write. A 200 may carry ``ok: false``;
which errors pass is below.
docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: "ok", or a word and a status of 400 and above.
"""

import asyncio
import logging
import re
from pathlib import Path

import aiohttp
import msgspec

from process.settings import Secret, Strict
from receiver.channels.base import Channel, DeferredError, Failure, Message, Receipt, SendError
from receiver.channels.declaration import Declaration, Place, Setup, Timeout, unknown_name
from receiver.channels.http_call import post
from receiver.channels.send_rate import PATIENCE, Pace
from receiver.channels.slack_api import GONE, UNWANTED, SlackApi, WordError, classify
from receiver.channels.slack_blocks import card, plain, root, story, without_picture
from receiver.incident.model import Kind

log = logging.getLogger(__name__)

_MENDED = 3  # a refused picture, a refused card and a thread that has gone are each mended once
_OK, _REFUSED = 200, 400
_SLOWED = 10.0  # seconds until a card is tried again that came too early


class IncomingWebhook(Strict, frozen=True):
    """One incoming webhook; whoever knows its URL can post."""

    url: Secret | None = None
    """URL of the webhook; whoever knows it can post"""
    url_file: Path | None = None


class SocketMode(Strict, frozen=True):
    """Slack sends presses and commands over a connection that the receiver opens."""

    app_token: Secret | None = None
    """App-level token with the scope connections:write"""
    app_token_file: Path | None = None


class Settings(Strict, frozen=True):
    """`channels.slack`: a bot token, incoming webhooks, or both."""

    token: Secret | None = None
    """Token of a bot with the scope chat:write"""
    token_file: Path | None = None
    webhooks: dict[str, IncomingWebhook] = {}
    """Incoming webhooks, by the address that people and teams use; no threads"""
    interactive: bool = False
    """Add buttons, which Slack sends back signed; needs `signing_secret`"""
    socket_mode: SocketMode | None = None
    """Add buttons, and take what is pressed without an address that Slack can reach"""
    signing_secret: Secret | None = None
    """Signing secret of the Slack app"""
    signing_secret_file: Path | None = None
    api_url: str = ""
    """Address of your own proxy; Slack's, if empty"""
    timeout: Timeout = Timeout(10)
    """Time for one attempt, at most 60s"""

    @property
    def has_buttons(self) -> bool:
        """Slack can send what is pressed, one way or the other."""
        return self.interactive or self.socket_mode is not None

    @property
    def has_bot(self) -> bool:
        """A bot can write to any channel and person; webhooks only to their own."""
        return bool(self.token or self.token_file)


class Slack:
    """Posts with a bot token; ``interactive`` adds buttons that Slack sends back to the receiver."""

    def __init__(  # what a Slack app is set up with
        self,
        token: Secret,
        session: aiohttp.ClientSession,
        *,
        timeout: float = 10,
        api_url: str = "",
        interactive: bool = False,
        pace: Pace | None = None,
    ) -> None:
        self._api, self._timeout, self._interactive = SlackApi(token, session, api_url), timeout, interactive
        # docs.slack.dev/apis/web-api/rate-limits: one message a second a channel, short bursts are let through.
        self._pace = pace or Pace(1.0, 3)
        # chat.update is of tier 3, 50 and more a minute for the whole workspace; replies in threads call it, too.
        self._updates = Pace(1.5, 10)

    async def send(self, message: Message) -> Receipt:
        """Post one message: the first of its lane opens the thread, the others answer in it and renew the first."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        if message.redraws:
            return await self._redraw(message, deadline)
        await self._pace.turn(message.address, min(PATIENCE, self._timeout / 2), urgent=message.priority == "P1")
        channel, _, thread = message.thread.rpartition("/")
        body = {
            "channel": channel or message.address,
            **self._content(message, threaded=bool(thread)),
            "unfurl_links": False,  # a preview would fetch the link
            "unfurl_media": False,
            "metadata": {"event_type": "heypeter_notification", "event_payload": {"id": message.id}},
        }
        if thread:
            # An escalation must be seen by those who do not follow the thread.
            broadcast = {"reply_broadcast": True} if message.kind is Kind.PAGE else {}
            body |= {"thread_ts": thread, **broadcast}
        ref, threaded = await self._post(message, body, deadline)
        if threaded and channel:
            await self._renew(message, channel, thread, deadline)
        return Receipt(ref=ref)

    def _content(self, message: Message, *, threaded: bool) -> dict[str, object]:
        """Pages are cards wherever they stand; what else is told of an incident is a line below its card."""
        is_line = threaded and message.kind is not Kind.PAGE
        return story(message) if is_line else card(message, interactive=self._interactive)

    async def _post(self, message: Message, body: dict[str, object], deadline: float) -> tuple[str, bool]:
        """Post; what Slack refuses for its form is mended and posted once more. Says whether it is in the thread."""
        for _ in range(_MENDED):
            try:
                return await self._posted(body, deadline)
            except WordError as error:
                gone = error.word in GONE or (error.word == "channel_not_found" and body["channel"] != message.address)
                if gone and "thread_ts" in body:
                    body = {k: v for k, v in body.items() if k not in {"thread_ts", "reply_broadcast"}}
                    body |= {"channel": message.address, **self._content(message, threaded=False)}
                elif error.word in UNWANTED and message.picture and message.picture.public:
                    message = without_picture(message)
                    body |= card(message, interactive=self._interactive)
                elif error.word in UNWANTED and body.get("attachments"):
                    body = {k: v for k, v in body.items() if k != "metadata"} | plain(message)
                else:
                    raise
                log.warning("notification %s is sent in a simpler form: %s", message.id, error)
        return await self._posted(body, deadline)

    async def _posted(self, body: dict[str, object], deadline: float) -> tuple[str, bool]:
        answer = await self._api.call("chat.postMessage", body, deadline)
        channel, ts = str(answer.get("channel") or ""), str(answer.get("ts") or "")
        return (f"{channel}/{ts}" if channel and ts else ts), "thread_ts" in body

    async def _redraw(self, message: Message, deadline: float) -> Receipt:
        """Change the card that was posted; one that has gone, or that a bundle stood in for, is not missed.

        It never waits at Slack's expense of a page: what comes too early is put off, whatever Slack says of it.
        """
        channel, _, ts = message.thread.rpartition("/")
        if not (channel and ts):
            return Receipt()
        patience = min(PATIENCE, self._timeout / 2)
        await self._updates.turn("", patience, urgent=False)
        await self._pace.turn(message.address, patience, urgent=False)
        body = {"channel": channel, "ts": ts, **root(message, interactive=self._interactive)}
        try:
            await self._api.call("chat.update", body, deadline)
        except WordError as error:
            if error.reason is Failure.AUTH:
                raise
            log.warning("the first message of %s still shows how it was: %s", message.incident, error)
        except SendError as error:
            if error.reason is Failure.RATE_LIMITED:
                raise DeferredError(error.retry_after or _SLOWED) from error
            raise
        return Receipt()

    async def _renew(self, message: Message, channel: str, ts: str, deadline: float) -> None:
        """Show in the thread's first message how things stand now; what was sent is sent, whatever comes of this."""
        body = {"channel": channel, "ts": ts, **root(message, interactive=self._interactive)}
        try:
            await self._api.call("chat.update", body, deadline)
        except SendError as error:
            log.warning("the first message of %s still shows how it was: %s", message.incident, error)


class SlackWebhooks:
    """``urls`` maps addresses to webhooks; what is addressed elsewhere goes through the ``bot``, if there is one."""

    def __init__(
        self,
        urls: dict[str, Secret],
        session: aiohttp.ClientSession,
        *,
        timeout: float = 10,
        bot: Channel | None = None,
    ) -> None:
        self._urls, self._session, self._timeout, self._bot = urls, session, timeout, bot

    async def send(self, message: Message) -> Receipt:
        """Post one message; a card that Slack refuses for its form is posted once more as plain text."""
        if message.address in self._urls:
            if message.redraws:
                return Receipt()  # a webhook cannot change what it has posted
            url = self._urls[message.address]
            word = await self._post(url, card(message))
            if word in UNWANTED and message.picture and message.picture.public:
                word = await self._post(url, card(without_picture(message)))
            if word in UNWANTED:
                word = await self._post(url, plain(message))
            if word:
                raise classify(word, 400, "")
            return Receipt()
        if self._bot is None:
            text = f"no webhook is configured for {message.address!r} in channels.slack.webhooks"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        return await self._bot.send(message)

    async def _post(self, url: Secret, body: dict[str, object]) -> str:
        """Post; gives the word by which Slack refused the form of it, empty if it took it."""
        answer = await post(self._session, "Slack", url, msgspec.json.encode(body), {}, self._timeout)
        if answer.status == _OK and answer.text == "ok":
            return ""
        refused = answer.status >= _REFUSED and re.fullmatch("[a-z_]{1,60}", answer.text)
        word = answer.text if refused else ""
        error = classify(word, answer.status, answer.retry_after)
        if word in UNWANTED and error.permanent:
            return word
        raise error


def _build(settings: Settings, setup: Setup) -> Channel:
    bot = None
    token = setup.optional_secret(".token", settings.token, settings.token_file)
    if token:
        bot = Slack(
            token,
            setup.session,
            timeout=settings.timeout,
            api_url=settings.api_url,
            interactive=settings.has_buttons,
        )
    urls = {
        name: setup.secret(f".webhooks.{name}.url", webhook.url, webhook.url_file)
        for name, webhook in settings.webhooks.items()
    }
    if bot and not urls:
        return bot
    return SlackWebhooks(urls, setup.session, timeout=settings.timeout, bot=bot)


def _check(settings: Settings, place: Place) -> None:
    if not (settings.has_bot or settings.webhooks):
        raise place.error(".token", "missing; set token, its *_file twin, or webhooks")
    if settings.interactive and not (settings.signing_secret or settings.signing_secret_file):
        raise place.error("", "interactive buttons need signing_secret_file, the Slack app's own")
    socket = settings.socket_mode
    if socket is not None and not (socket.app_token or socket.app_token_file):
        raise place.error(".socket_mode", "needs app_token_file, an app-level token with the scope connections:write")
    if socket is not None and not settings.has_bot:
        raise place.error(".socket_mode", "needs token_file, too: buttons are on the messages of a bot")


# A channel's name or id, or a member's id, which begins with U or W. chat.postMessage takes no @name
# (docs.slack.dev/changelog/2017-09-the-one-about-usernames).
_ADDRESS_FORM = re.compile(r"#?[\w-]{1,80}")
_MEMBER = "of a person the member ID from their profile, as U012AB3CD"


def _wrong_address(settings: Settings, address: str) -> str:
    if not settings.has_bot:
        return unknown_name("webhook", address, settings.webhooks, "slack.webhooks")
    if _ADDRESS_FORM.fullmatch(address):
        return ""
    return f"invalid Slack address {address!r} (expected #channel, or {_MEMBER})"


CHANNEL = Declaration(
    settings=Settings,
    build=_build,
    check=_check,
    wrong_address=_wrong_address,
    own_key=True,
    redraws=lambda settings: settings.has_bot,
    pictures="address",
    read_by_people=True,
)
