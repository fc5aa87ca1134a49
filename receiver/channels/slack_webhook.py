"""The channel `slack` in its simple mode: an incoming webhook a channel, without threads, for who has no bot token.

docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: "ok", or a word and a status that says it is none.
"""

import re

import aiohttp
import msgspec

from process.settings import Secret
from receiver.channels.base import Channel, Failure, Message, Receipt, SendError
from receiver.channels.http_call import post
from receiver.channels.slack_blocks import card, plain
from receiver.channels.slack_call import UNWANTED, classify

_OK, _REFUSED = 200, 400


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
            url = self._urls[message.address]
            word = await self._post(url, card(message))
            if word in UNWANTED:
                word = await self._post(url, plain(message))
            if word:
                raise classify(word, 400, "")
            return Receipt()
        if self._bot is None:
            text = f"no webhook is configured for {message.address!r} in channels.slack.webhooks"
            raise SendError(text, Failure.BAD_ADDRESS, permanent=True)
        return await self._bot.send(message)

    async def _post(self, url: Secret, given: dict[str, object]) -> str:
        """Post; gives the word by which Slack refused the form of it, empty if it took it."""
        answer = await post(self._session, "Slack", url, msgspec.json.encode(given), {}, self._timeout)
        if answer.status == _OK and answer.text == "ok":
            return ""
        refused = answer.status >= _REFUSED and re.fullmatch("[a-z_]{1,60}", answer.text)
        word = answer.text if refused else ""
        error = classify(word, answer.status, answer.wish)
        if word in UNWANTED and error.permanent:
            return word
        raise error
