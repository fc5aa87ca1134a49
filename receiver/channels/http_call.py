"""How channels call a plain URL: one POST, no redirect, in time; and what an HTTP status means for sending again."""

import asyncio
import re
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from process.settings import Secret
from receiver.channels.base import Failure, SendError

_READ = 1000  # bytes of an answer: a word is all that anybody needs of it


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str
    retry_after: str  # the header as it came, "" if there is none


async def post(
    session: aiohttp.ClientSession,
    who: str,
    url: Secret,
    body: bytes,
    headers: dict[str, str],
    time_limit: float,
    *,
    largest: int = _READ,
) -> Answer:
    """POST once; ``who`` names the other side in errors, for the URL may hold a secret.

    No more than ``largest`` bytes of the answer are read.
    """
    sent = {"Content-Type": "application/json", "User-Agent": "HeyPeter-Monitoring", **headers}
    try:
        async with (
            asyncio.timeout(time_limit),
            session.post(url.reveal(), data=body, headers=sent, allow_redirects=False) as response,
        ):
            text = await _text(response, largest)
            return Answer(response.status, text, response.headers.get("Retry-After", ""))
    except TimeoutError:
        raise SendError(f"{who} did not answer in time", Failure.TIMEOUT) from None
    except (aiohttp.ClientError, ValueError) as error:
        raise SendError(f"{who}: {type(error).__name__}", Failure.NETWORK) from None


async def _text(response: aiohttp.ClientResponse, largest: int) -> str:
    """Read the beginning of the answer; what follows is not waited for."""
    text = b""
    while len(text) < largest and (more := await response.content.read(largest - len(text))):
        text += more
    return text.decode("utf-8", "replace")


def failure(text: str, status: int, retry_after: str = "") -> SendError:
    """Make the error for a status that is not a success; ``retry_after`` is the provider's own header.

    A 2xx comes here only when the answer is not the provider's own: a proxy's page proves nothing, so try again.
    """
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SendError(text, Failure.RATE_LIMITED, retry_after=_seconds(retry_after))
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return SendError(text, Failure.TIMEOUT)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status < HTTPStatus.MULTIPLE_CHOICES:
        return SendError(text, Failure.SERVER_ERROR)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return SendError(f"{text}: check the key", Failure.AUTH, permanent=True)
    return SendError(text, Failure.REFUSED, permanent=True)


def _seconds(retry_after: str) -> float | None:
    """Read a Retry-After; anything but a plain number of seconds is ignored."""
    return float(retry_after) if re.fullmatch(r"[0-9]{1,5}", retry_after) else None
