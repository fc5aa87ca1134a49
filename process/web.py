"""What both processes answer alike over HTTP: tokens, bounded bodies, errors, and 503 while stopping."""

import asyncio
import hmac
import zlib
from collections.abc import Awaitable, Callable

from aiohttp import ClientPayloadError, web
from aiohttp.typedefs import Middleware

from process.settings import Secret

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def bearer_matches(request: web.Request, token: Secret) -> bool:
    """Compare ``Authorization: Bearer …`` with the token in constant time."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    # Compared as bytes: compare_digest refuses non-ASCII text, and a client may send any.
    return scheme.lower() == "bearer" and hmac.compare_digest(
        credentials.strip().encode("utf-8", "surrogateescape"), token.reveal().encode()
    )


def require_bearer(token: Secret, hint: str) -> Middleware:
    """Make the middleware that answers 401 to whoever lacks the token; ``hint`` says which one it is."""

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not bearer_matches(request, token):
            return problem(401, f"Authorization: the bearer token is missing or wrong; {hint}")
        return await handler(request)

    return check_token


def refuse_while(stopping: Callable[[], bool]) -> Middleware:
    """Make the middleware that answers 503 while the process stops, so that the client comes back to the next one.

    Paths below ``/-/`` and ``/metrics`` are still answered: they say how the stopping goes.
    """

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not stopping() or request.path.startswith("/-/") or request.path == "/metrics":
            return await handler(request)
        response = problem(503, "stopping; try again in a few seconds")
        response.force_close()  # a kept connection would lead here again
        return response

    return refuse


def problem(status: int, error: str, **details: object) -> web.Response:
    """Answer with ``{"error": …}``: what is wrong, where, and what to do."""
    return web.json_response({"error": error, **details}, status=status)


class BodyError(Exception):
    """The body could not be taken; ``status`` says how to answer, ``reason`` is the metric label."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


def refused(error: BodyError) -> web.Response:
    """Answer a body that could not be taken, and end the connection: what is left on it cannot be told apart."""
    response = problem(error.status, error.message)
    response.force_close()
    return response


async def read_body(request: web.Request, limit: int) -> bytes:
    """Read at most ``limit`` bytes after decompression; BodyError 413, 415 or 400 otherwise.

    aiohttp inflates while it reads, so a compression bomb is cut at the limit; a corrupt body is its
    RequestPayloadError (ClientPayloadError or zlib.error in some releases), a 500 if left alone.
    """
    if request.content_length is not None and request.content_length > limit:
        raise BodyError(413, "too_large", f"the body is larger than {limit} bytes; send less at a time")
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip", "deflate"}:
        raise BodyError(415, "bad_encoding", "Content-Encoding: use gzip, deflate or none")
    body = bytearray()
    try:
        if request.content_length and encoding == "identity":
            return await request.content.readexactly(request.content_length)  # half the cost of reading in pieces
        async for chunk in request.content.iter_chunked(65536):
            body += chunk
            if len(body) > limit:
                raise BodyError(413, "too_large", f"the body is larger than {limit} bytes; send less at a time")
    except (web.RequestPayloadError, ClientPayloadError, asyncio.IncompleteReadError, zlib.error) as error:
        request.content.feed_eof()  # else aiohttp drains the body after the answer and meets the same error again
        raise BodyError(400, "bad_encoding", "the body does not match its Content-Encoding, or is truncated") from error
    return bytes(body)
