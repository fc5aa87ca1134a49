"""How channels call a plain URL: one POST, no redirect, in time, and our own kind of error if no answer comes."""

import asyncio
from typing import NamedTuple

import aiohttp

from process.settings import Secret
from receiver.channels.base import Failure, SendError

_READ = 1000  # bytes of an answer: a word is all that anybody needs of it


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str
    wish: str  # Retry-After


async def post(
    session: aiohttp.ClientSession, who: str, url: Secret, body: bytes, headers: dict[str, str], patience: float
) -> Answer:
    """POST once; ``who`` names the other side in errors, for the URL may hold a secret."""
    sent = {"Content-Type": "application/json", "User-Agent": "HeyPeter-Monitoring", **headers}
    try:
        async with (
            asyncio.timeout(patience),
            session.post(url.reveal(), data=body, headers=sent, allow_redirects=False) as response,
        ):
            text = await _text(response)
            return Answer(response.status, text, response.headers.get("Retry-After", ""))
    except TimeoutError:
        raise SendError(f"{who} did not answer in time", Failure.TIMEOUT) from None
    except (aiohttp.ClientError, ValueError) as error:
        raise SendError(f"{who}: {type(error).__name__}", Failure.NETWORK) from None


async def _text(response: aiohttp.ClientResponse) -> str:
    """Read the beginning of the answer; what follows is not waited for."""
    found = b""
    while len(found) < _READ and (more := await response.content.read(_READ - len(found))):
        found += more
    return found.decode("utf-8", "replace")
