"""Calls a JSON API over HTTP: one attempt, an answer of bounded size, a bounded wait and one error type."""

import ssl
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal

import aiohttp
import msgspec

from process.findings import reason

LARGEST = 256 * 1024 * 1024  # bytes of one answer: 100,000 alerts with long texts
LARGEST_READ = 8 * 1024 * 1024  # bytes of an answer that is read whole
_CHUNK = 1 << 20


class Failure(StrEnum):
    """Why a call gave nothing."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    REFUSED = "refused"  # a status other than 200
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"  # not the JSON that this API gives


class BoundedResponse(aiohttp.ClientResponse):
    """Gives no more than ``LARGEST_READ`` bytes to what reads an answer whole, as the SDK of Slack does."""

    async def read(self) -> bytes:
        """Read the body; ClientPayloadError if it is too large."""
        if self._body is None:
            try:
                self._body = await self._bounded()
            except BaseException:
                self.close()  # nothing more is read of it, and its connection is not used again
                raise
        return self._body

    async def _bounded(self) -> bytes:
        body = bytearray()
        async for chunk in self.content.iter_any():
            body += chunk
            if len(body) > LARGEST_READ:
                raise aiohttp.ClientPayloadError("the answer is too large")
        return bytes(body)


def open_session() -> aiohttp.ClientSession:
    """Open a session whose answers are bounded; the caller closes it."""
    # How much is under way at once is bounded by the dispatchers; a common limit would let one host use it up.
    return aiohttp.ClientSession(response_class=BoundedResponse, connector=aiohttp.TCPConnector(limit=0))


class ApiError(Exception):
    """An API did not answer as it should; the text names the API and the reason, never a URL or a credential."""

    def __init__(self, failure: Failure, message: str) -> None:
        super().__init__(message)
        self.failure = failure


class Access(msgspec.Struct, frozen=True):
    """What a call carries to be let in; ``trust`` checks the server's certificate, False takes any."""

    headers: dict[str, str] = {}  # msgspec copies a mutable default
    trust: ssl.SSLContext | bool = True


async def call(  # noqa: PLR0913  # one request
    session: aiohttp.ClientSession,
    method: Literal["GET", "POST", "DELETE"],
    url: str,
    *,
    name: str,
    seconds: float,
    headers: Mapping[str, str],
    parameters: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    body: bytes | None = None,
    largest: int = LARGEST,
    trust: ssl.SSLContext | bool = True,
) -> tuple[int, bytes]:
    """Give the status and the body.

    ``name`` is the API's, for errors; ``seconds`` cover the whole call; a POST carries ``body``, or ``parameters`` as a
    form. Redirects are not followed, so that no credential is sent elsewhere. Raises ApiError.
    """
    query, form = (None, body or parameters) if method == "POST" else (parameters, None)
    patience = aiohttp.ClientTimeout(total=seconds)
    try:
        async with session.request(
            method, url, headers=headers, timeout=patience, allow_redirects=False, params=query, data=form, ssl=trust
        ) as response:
            answer = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                answer += chunk
                if len(answer) > largest:
                    raise ApiError(Failure.TOO_LARGE, f"{name} answered with more than {largest >> 20} MiB")
            return response.status, bytes(answer)
    except TimeoutError as error:
        raise ApiError(Failure.TIMED_OUT, f"{name} did not answer within {seconds:g} seconds") from error
    except (aiohttp.ClientError, ValueError) as error:  # ValueError: a URL or a header that cannot be sent
        raise ApiError(Failure.UNREACHABLE, f"{name} cannot be reached: {reason(error)}") from error
