"""Calls the methods of Slack's Web API with a token, one attempt each, and makes our errors of Slack's words.

docs.slack.dev/apis/web-api: a 200 may carry ``ok: false``; which errors pass is below.
"""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from process.settings import Secret
from receiver.channels.base import Failure, SendError
from receiver.channels.http_call import failure

_QUIET = logging.getLogger(f"{__name__}.sdk")  # at level debug it writes whole answers: addresses, tickets
_QUIET.disabled = True
_PASSING = {
    **dict.fromkeys(
        ("internal_error", "fatal_error", "service_unavailable", "team_added_to_org", "rollup_error"),
        Failure.SERVER_ERROR,
    ),
    **dict.fromkeys(("ratelimited", "rate_limited", "message_limit_exceeded"), Failure.RATE_LIMITED),
    "request_timeout": Failure.TIMEOUT,
}
_ADDRESS = {
    *("channel_not_found", "is_archived", "channel_is_archived", "not_in_channel", "user_not_found", "cannot_dm_bot"),
    *("no_service", "no_service_id", "no_active_hooks", "no_team", "team_disabled"),  # an incoming webhook's
}
_AUTH = {
    *("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"),
    *("not_allowed_token_type", "no_permission", "access_denied", "team_access_not_granted"),
    *("invalid_token", "action_prohibited", "posting_to_general_channel_denied"),
}
# The thread's first message has gone, or cannot be answered.
GONE = {"thread_not_found", "message_not_found", "invalid_thread_ts", "cannot_reply_to_message", "thread_locked"}
# Slack does not want the card: it is too much, or its rules have changed. Plain text always goes.
UNWANTED = {
    *("msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "invalid_attachments"),
    *("too_many_attachments", "attachment_payload_limit_exceeded", "block_mismatch", "invalid_metadata_schema"),
    *("invalid_metadata_format", "metadata_too_large"),
}


class WordError(SendError):
    """What Slack refused with a word of its own."""

    word = ""


class SlackApi:
    """Calls Slack's methods with a bot token."""

    def __init__(self, token: Secret, session: aiohttp.ClientSession, api_url: str = "") -> None:
        self._client = AsyncWebClient(
            token=token.reveal(),
            base_url=api_url or AsyncWebClient.BASE_URL,
            session=session,
            logger=_QUIET,
            retry_handlers=[],  # the dispatcher alone retries
        )

    async def call(self, method: str, body: dict[str, object], deadline: float) -> dict[str, Any]:
        """Call with a JSON body; SendError if it did not work. ``deadline`` is a time of the loop's clock."""
        return await self._call(method, deadline, json=body)

    async def ask(self, method: str, deadline: float, **params: str) -> dict[str, Any]:
        """Call one of the methods that take no JSON; SendError as above."""
        return await self._call(method, deadline, params=params)

    async def _call(self, method: str, deadline: float, **body: Any) -> dict[str, Any]:  # noqa: ANN401  # the SDK's own
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._client.api_call(method, **body)
        except SlackApiError as error:
            raise _send_error(error) from None
        except TimeoutError:
            raise SendError("Slack did not answer in time", Failure.TIMEOUT) from None
        except (aiohttp.ClientError, SlackClientError) as error:
            raise SendError(f"Slack: {type(error).__name__}", Failure.NETWORK) from None
        except (AttributeError, LookupError, ValueError):  # the SDK trusts every answer to be a JSON object
            raise SendError("Slack: the answer is not from Slack", Failure.SERVER_ERROR) from None
        return answer.data if isinstance(answer.data, dict) else {}


def classify(word: str, status: int, retry_after: str) -> SendError:
    """Make the error of an answer: by Slack's word where there is one, else by the status."""
    text = f"Slack: {word or f'status {status}'}"
    if status == HTTPStatus.TOO_MANY_REQUESTS or _PASSING.get(word) is Failure.RATE_LIMITED:
        return failure(text, HTTPStatus.TOO_MANY_REQUESTS, retry_after)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT or not word:
        return failure(text, status)
    if word in _PASSING:
        return SendError(text, _PASSING[word])
    reason = Failure.AUTH if word in _AUTH or status in {401, 403} else Failure.REFUSED
    error = WordError(text, Failure.BAD_ADDRESS if word in _ADDRESS else reason, permanent=True)
    error.word = word
    return error


def _send_error(error: SlackApiError) -> SendError:
    """For a broken body the SDK hands over aiohttp's own response."""
    response = error.response
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    word = re.fullmatch("[a-z_]{1,60}", str(data.get("error")) if isinstance(data, dict) else "")
    return classify(word[0] if word else "", status, str(response.headers.get("Retry-After", "")))
