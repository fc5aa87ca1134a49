"""The channel `slack`: chat.postMessage with the document's colours, fields and footer, one thread an incident.

docs.slack.dev/reference/methods/chat.postMessage. A 200 may carry ``ok: false``; which errors pass is below.
"""

import asyncio
import re
from http import HTTPStatus

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from process.settings import Secret
from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.incident import Kind

# Characters and counts: all stays below the 13,000 where msg_too_long begins; two SHORT fields fit side by side.
TITLE, TEXT, FIELD, FIELDS, URL, SHORT = 300, 3000, 1200, 10, 1000, 40
_COLOURS = {"critical": "danger", "warning": "warning", "info": "good"}
_PASSING = {
    **dict.fromkeys(
        ("internal_error", "fatal_error", "service_unavailable", "team_added_to_org"), Failure.SERVER_ERROR
    ),
    **dict.fromkeys(("ratelimited", "rate_limited", "message_limit_exceeded"), Failure.RATE_LIMITED),
    "request_timeout": Failure.TIMEOUT,
}
_ADDRESS = {"channel_not_found", "is_archived", "not_in_channel", "user_not_found", "cannot_dm_bot"}
_AUTH = {
    *("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"),
    *("not_allowed_token_type", "no_permission", "access_denied", "team_access_not_granted"),
}


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
        text, attachment = _cut(_escaped(message.headline), TEXT), _attachment(message)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client.chat_postMessage(
                    channel=message.address,
                    text=text,
                    attachments=[attachment],
                    unfurl_links=False,  # a preview would fetch the link
                    unfurl_media=False,
                    metadata={"event_type": "heypeter_notification", "event_payload": {"id": message.id}},
                    thread_ts=message.thread or None,
                    # An escalation must be seen by those who do not follow the thread.
                    reply_broadcast=True if message.thread and message.kind is Kind.PAGE else None,
                )
            return Receipt(ref=str(answer.get("ts") or ""))
        except SlackApiError as error:
            raise _send_error(error) from None
        except TimeoutError:
            raise SendError("Slack did not answer in time", Failure.TIMEOUT) from None
        except (aiohttp.ClientError, SlackClientError) as error:
            raise SendError(f"Slack: {type(error).__name__}", Failure.NETWORK) from None
        except (AttributeError, LookupError, ValueError):  # the SDK trusts every answer to be a JSON object
            raise SendError("Slack: the answer is not Slack's", Failure.SERVER_ERROR) from None


def _attachment(message: Message) -> dict[str, object]:
    links = (f"<{_escaped(link.url)}|{_escaped(link.label)}>" for link in message.links if len(link.url) < URL)
    return {
        "color": "good" if message.kind is Kind.RESOLVED else _COLOURS.get(message.severity, "warning"),
        "title": _cut(_escaped(message.text.partition("\n")[0]), TITLE),
        "text": " · ".join(links),
        "fields": [
            {"title": _cut(_escaped(name), TITLE), "value": _cut(_escaped(value), FIELD), "short": len(value) < SHORT}
            for name, value in message.fields[:FIELDS]
        ],
        "footer": "HeyPeter Monitoring",
        "ts": int(message.sent_at.timestamp()),
        "fallback": _cut(_escaped(message.headline), TEXT),
        "mrkdwn_in": ["text"],
    }


def _escaped(text: str) -> str:
    """Slack's three control characters: without this an alert could say <!channel>."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, limit: int) -> str:
    """Cut visibly, and never inside an escape: ``&l`` would show as it is."""
    return text if len(text) <= limit else re.sub(r"&[a-z]{0,3}$", "", text[: limit - 2]) + " …"


def _send_error(error: SlackApiError) -> SendError:
    """Classify by status, then by Slack's word; for a broken body the SDK hands over aiohttp's own response."""
    response = error.response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    word = re.fullmatch("[a-z_]{1,60}", str(data.get("error")) if isinstance(data, dict) else "")
    code = word[0] if word else ""
    text = f"Slack: {code or f'status {status}'}"
    if status == HTTPStatus.TOO_MANY_REQUESTS or _PASSING.get(code) is Failure.RATE_LIMITED:
        wish = str(response.headers.get("Retry-After", ""))
        wait = float(wish) if re.fullmatch(r"[0-9]{1,5}", wish) else None
        return SendError(text, Failure.RATE_LIMITED, retry_after=wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or (status < HTTPStatus.MULTIPLE_CHOICES and not code):
        return SendError(text, Failure.SERVER_ERROR)
    if status == HTTPStatus.REQUEST_TIMEOUT or code in _PASSING:
        return SendError(text, _PASSING.get(code, Failure.TIMEOUT))
    reason = Failure.AUTH if code in _AUTH or status in {401, 403} else Failure.REFUSED
    return SendError(text, Failure.BAD_ADDRESS if code in _ADDRESS else reason, permanent=True)
