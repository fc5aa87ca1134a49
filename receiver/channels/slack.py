"""The channel `slack` with a bot token: one thread an incident, whose first message always shows how things stand.

docs.slack.dev/reference/methods/chat.postMessage and chat.update. Scope: chat:write.
"""

import asyncio
import logging

import aiohttp

from process.settings import Secret
from receiver.channels.base import Message, Receipt, SendError
from receiver.channels.rate_limit import PATIENCE, Pace
from receiver.channels.slack_blocks import card, plain, root
from receiver.channels.slack_call import GONE, UNWANTED, Calls, WordError
from receiver.incident.model import Kind

log = logging.getLogger(__name__)

_MENDED = 2  # a card that is refused and a thread that has gone are each mended once


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
        self._calls, self._timeout, self._interactive = Calls(token, session, api_url), timeout, interactive
        # docs.slack.dev/apis/web-api/rate-limits: one message a second a channel, short bursts are let through.
        self._pace = pace or Pace(1.0, 3)

    async def send(self, message: Message) -> Receipt:
        """Post one message: the first of its lane opens the thread, the others answer in it and renew the first."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        await self._pace.turn(message.address, min(PATIENCE, self._timeout / 2), urgent=message.priority == "P1")
        channel, _, thread = message.thread.rpartition("/")
        given = {
            "channel": channel or message.address,
            **card(message, interactive=self._interactive),
            "unfurl_links": False,  # a preview would fetch the link
            "unfurl_media": False,
            "metadata": {"event_type": "heypeter_notification", "event_payload": {"id": message.id}},
        }
        if thread:
            # An escalation must be seen by those who do not follow the thread.
            broadcast = {"reply_broadcast": True} if message.kind is Kind.PAGE else {}
            given |= {"thread_ts": thread, **broadcast}
        ref, threaded = await self._post(message, given, deadline)
        if threaded and channel:
            await self._renew(message, channel, thread, deadline)
        return Receipt(ref=ref)

    async def _post(self, message: Message, given: dict[str, object], deadline: float) -> tuple[str, bool]:
        """Post; what Slack refuses for its form is mended and posted once more. Says whether it is in the thread."""
        for _ in range(_MENDED):
            try:
                return await self._posted(given, deadline)
            except WordError as error:
                gone = error.word in GONE or (error.word == "channel_not_found" and given["channel"] != message.address)
                if gone and "thread_ts" in given:
                    given = {k: v for k, v in given.items() if k not in {"thread_ts", "reply_broadcast"}}
                    given["channel"] = message.address
                elif error.word in UNWANTED and given["attachments"]:
                    given = {k: v for k, v in given.items() if k != "metadata"} | plain(message)
                else:
                    raise
                log.warning("notification %s is sent in a simpler form: %s", message.id, error)
        return await self._posted(given, deadline)

    async def _posted(self, given: dict[str, object], deadline: float) -> tuple[str, bool]:
        channel, ts = await self._calls.call("chat.postMessage", given, deadline)
        return (f"{channel}/{ts}" if channel and ts else ts), "thread_ts" in given

    async def _renew(self, message: Message, channel: str, ts: str, deadline: float) -> None:
        """Show in the thread's first message how things stand now; what was sent is sent, whatever comes of this."""
        given = {"channel": channel, "ts": ts, **root(message, interactive=self._interactive)}
        try:
            await self._calls.call("chat.update", given, deadline)
        except SendError as error:
            log.warning("the first message of %s still shows how it was: %s", message.incident, error)
