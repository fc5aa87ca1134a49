"""The channel `slack`: chat.postMessage with the document's colours, fields and footer, one thread an incident.

api.slack.com/methods/chat.postMessage. A 200 may carry ``ok: false``; which errors pass and which do not is below.
"""

import asyncio
from http import HTTPStatus

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from process.settings import Secret
from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.incident import Kind

TEXT, FIELD, FIELDS = 3000, 2000, 20  # characters and counts that Slack still shows
_COLOURS = {"critical": "danger", "warning": "warning", "info": "good"}
_PASSING = {
    "internal_error": Failure.SERVER_ERROR,
    "fatal_error": Failure.SERVER_ERROR,
    "service_unavailable": Failure.SERVER_ERROR,
    "team_added_to_org": Failure.SERVER_ERROR,
    "request_timeout": Failure.TIMEOUT,
    "ratelimited": Failure.RATE_LIMITED,
    "rate_limited": Failure.RATE_LIMITED,
}
_ADDRESS = {"channel_not_found", "is_archived", "not_in_channel", "user_not_found", "cannot_dm_bot"}
_AUTH = {"invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"}


class Slack:
    """Posts with a bot token (scope chat:write)."""

    def __init__(
        self, token: Secret, session: aiohttp.ClientSession, *, timeout: float = 10, api_url: str = ""
    ) -> None:
        self._timeout = timeout
        self._client = AsyncWebClient(
            token=token.reveal(),
            base_url=api_url or AsyncWebClient.BASE_URL,
            session=session,
            retry_handlers=[],  # the dispatcher alone retries
        )

    async def send(self, message: Message) -> Receipt:
        """Post one message: the first of its lane opens the thread, the others answer in it."""
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client.chat_postMessage(
                    channel=message.address,
                    text=_escaped(message.headline)[:TEXT],
                    attachments=[_attachment(message)],
                    unfurl_links=False,  # a preview would fetch the link
                    unfurl_media=False,
                    metadata={"event_type": "heypeter_notification", "event_payload": {"id": message.id}},
                    thread_ts=message.thread or None,
                    # An escalation must be seen by those who do not follow the thread.
                    reply_broadcast=True if message.thread and message.kind is Kind.PAGE else None,
                )
        except SlackApiError as error:
            raise _send_error(error) from None
        except TimeoutError:
            raise SendError("Slack did not answer in time", Failure.TIMEOUT) from None
        except (aiohttp.ClientError, SlackClientError) as error:
            raise SendError(f"Slack: {type(error).__name__}", Failure.NETWORK) from None
        return Receipt(ref=str(answer.get("ts") or ""))


def _attachment(message: Message) -> dict[str, object]:
    links = " · ".join(f"<{_escaped(link.url)}|{_escaped(link.label)}>" for link in message.links)
    fields = [
        {"title": _escaped(name), "value": _cut(_escaped(value), FIELD), "short": len(value) < 40}  # noqa: PLR2004  # two fit side by side
        for name, value in message.fields[:FIELDS]
    ]
    return {
        "color": "good" if message.kind is Kind.RESOLVED else _COLOURS.get(message.severity, "warning"),
        "title": _cut(_escaped(message.subject), TEXT),
        "text": links,
        "fields": fields,
        "footer": "HeyPeter Monitoring",
        "ts": int(message.sent_at.timestamp()),
        "fallback": _cut(_escaped(message.headline), TEXT),
        "mrkdwn_in": ["text"],
    }


def _escaped(text: str) -> str:
    """Slack's three control characters: without this an alert could say <!channel>."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 2] + " …"


def _send_error(error: SlackApiError) -> SendError:
    response = error.response
    status = int(getattr(response, "status_code", 0) or 0)
    data = getattr(response, "data", None)  # a body that is no JSON arrives as text
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wish = str(response.headers.get("Retry-After", ""))
        return SendError(
            "Slack: rate limited", Failure.RATE_LIMITED, retry_after=float(wish) if wish.isdigit() else None
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return SendError(f"Slack answered {status}", Failure.SERVER_ERROR)
    name = code if code.replace("_", "").isalnum() and len(code) < 60 else f"status {status}"  # noqa: PLR2004  # a word
    if code in _PASSING:
        return SendError(f"Slack: {name}", _PASSING[code])
    if code in _AUTH:
        return SendError(f"Slack: {name}", Failure.AUTH, permanent=True)
    if code in _ADDRESS:
        return SendError(f"Slack: {name}", Failure.BAD_ADDRESS, permanent=True)
    return SendError(f"Slack: {name}", Failure.REFUSED, permanent=True)
