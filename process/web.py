"""What both processes answer alike over HTTP: tokens, bounded bodies, errors, and 503 while stopping."""

import asyncio
import hmac
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, reduce
from typing import TypeVar
from urllib.parse import parse_qsl

from aiohttp import ClientPayloadError, web
from aiohttp.typedefs import Middleware

from process.listener import note_authenticated
from process.settings import Secret

BODY_DEADLINE = 30.0  # seconds
# What reading a body raises whose sender stops in the middle, or leaves.
_CUT_OFF = (web.RequestPayloadError, ClientPayloadError, asyncio.IncompleteReadError, ConnectionError)
_PIECE = 1024 * 1024  # bytes inflated before others have their turn
_FED = 16 * 1024  # bytes given to zlib at a time
_MAX_MEMBERS = 1000  # of a gzip body (RFC 1952, 2.2)
_MAX_DIGITS = 18  # fits 64 bits
_MAX_FIELDS = 50
_Bytes = TypeVar("_Bytes", bytes, bytearray)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def bearer_matches(request: web.Request, token: Secret) -> bool:
    """Compare ``Authorization: Bearer …`` with the token in constant time."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    # Compared as bytes: compare_digest refuses non-ASCII text, and a client may send any.
    matches = scheme.lower() == "bearer" and hmac.compare_digest(
        credentials.strip().encode("utf-8", "surrogateescape"), token.reveal().encode()
    )
    if matches:
        note_authenticated()
    return matches


def require_bearer(token: Secret, hint: str) -> Middleware:
    """Make the middleware that answers 401 to whoever lacks the token; ``hint`` says which one it is."""

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not bearer_matches(request, token):
            return problem(401, f"Authorization: the bearer token is missing or wrong; {hint}")
        return await handler(request)

    return check_token


def is_from_page(request: web.Request) -> bool:
    """Whether a page in a browser made the request: with a password that the browser keeps, any site's page could.

    Browsers send Origin with each POST, and Sec-Fetch-Site over HTTPS and to localhost; tools send neither.
    """
    return "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") != "none"


def refuse_while(stopping: Callable[[], bool], *, hands_over: bool = False) -> Middleware:
    """Make the middleware that answers 503 while the process stops, so that the client comes back to the next one.

    A process that ``hands_over`` its socket accepts no more connections, and answers what those that are open ask.
    Paths below ``/-/`` and ``/metrics`` are still answered: they say how the stopping goes.
    """

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not stopping() or request.path.startswith("/-/") or request.path == "/metrics":
            return await handler(request)
        response = await handler(request) if hands_over else problem(503, "stopping; try again in a few seconds")
        response.force_close()  # a kept connection would lead here again
        return response

    return refuse


@web.middleware
async def answer_malformed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what no handler has answered by itself: a body that could not be taken, or JSON nested a thousand deep."""
    try:
        return await handler(request)
    except BodyError as error:
        return refused(error)
    except RecursionError:
        return problem(400, "the JSON is nested too deeply")


def behind(middlewares: Sequence[Middleware], handler: Handler) -> Handler:
    """Give a handler that stands behind middlewares, the outermost first, without an application."""
    return reduce(lambda inner, one: partial(one, handler=inner), reversed(middlewares), handler)


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


async def read_body(request: web.Request, limit: int, deadline: float = BODY_DEADLINE) -> bytes:
    """Read a body of at most ``limit`` bytes after decompression; BodyError 400, 408, 413 or 415 otherwise.

    ``deadline`` is in seconds, for the whole body. It inflates here and no further than the limit, so the server must
    not do so by itself: see ``process.listener.SERVING``.
    """
    if request.content_length is not None and request.content_length > limit:
        raise BodyError(413, "too_large", f"the body is larger than {limit} bytes; send less at a time")
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip", "deflate"}:
        raise BodyError(415, "bad_encoding", "Content-Encoding: use gzip, deflate or none")
    try:
        if request.content.is_eof():  # it came with the header, as small ones do, and nothing has to be waited for
            body = _within(request.content.read_nowait(), limit)
        else:
            async with asyncio.timeout(deadline):
                body = await _arrived(request, limit)
        return body if encoding == "identity" else await _inflated(body, encoding, limit)
    except TimeoutError as error:
        raise BodyError(408, "too_slow", f"the body did not arrive within {deadline:g} s") from error
    except (*_CUT_OFF, zlib.error) as error:
        request.content.feed_eof()  # else aiohttp drains the body after the answer and meets the same error again
        raise BodyError(400, "bad_encoding", "the body does not match its Content-Encoding, or is truncated") from error


async def _arrived(request: web.Request, limit: int) -> bytes:
    if request.content_length:
        return await request.content.readexactly(request.content_length)  # half the cost of reading in pieces
    body = bytearray()
    async for chunk in request.content.iter_chunked(65536):
        body += chunk
        _within(body, limit)
    return bytes(body)


def _within(body: _Bytes, limit: int) -> _Bytes:
    if len(body) > limit:
        raise BodyError(413, "too_large", f"the body is larger than {limit} bytes; send less at a time")
    return body


async def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    """Inflate piece by piece, as others have their turn in between; zlib.error if it is corrupt or truncated.

    A stream may be empty and two bytes long, and zlib copies what is fed beyond its end: it is fed little at a time.
    """
    inflated = bytearray()
    at = streams = 0
    while at < len(body):
        streams += 1
        if streams > (_MAX_MEMBERS if encoding == "gzip" else 1):
            raise zlib.error("too many streams")
        inflater = zlib.decompressobj(_window(body[at], encoding))
        left = b""
        while not inflater.eof:
            fed = left or body[at : at + _FED]
            at += 0 if left else len(fed)
            piece = inflater.decompress(fed, _PIECE)
            inflated += piece
            _within(inflated, limit)
            left = inflater.unconsumed_tail
            if not fed and not piece:
                raise zlib.error("truncated")
            if len(inflated) // _PIECE > (len(inflated) - len(piece)) // _PIECE:
                await asyncio.sleep(0)
        at -= len(inflater.unused_data)
        if at < len(body):
            await asyncio.sleep(0)
    return bytes(inflated)


def _window(first: int, encoding: str) -> int:
    """Return zlib's window bits. For `deflate` some send no zlib header, whose first byte's low half is always 8."""
    if encoding == "gzip":
        return 16 + zlib.MAX_WBITS
    return zlib.MAX_WBITS if first & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS


def whole_number(text: str, most: int) -> int | None:
    """Read an unsigned number of at most ``most``; None otherwise. Thousands of digits make ``int`` raise."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    number = int(text)
    return number if number <= most else None


async def read_form(request: web.Request, limit: int) -> dict[str, str]:
    """Read a form as browsers post it, of each field its last value; BodyError as ``read_body``."""
    return dict(await read_fields(request, limit))


async def read_fields(request: web.Request, limit: int, most: int = _MAX_FIELDS) -> list[tuple[str, str]]:
    """Read a form with fields that may stand in it several times. The charset that it may claim is not looked at."""
    text = (await read_body(request, limit)).decode("utf-8", "replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=most)
    except ValueError as error:
        raise BodyError(400, "bad_form", f"the form has more than {most} fields") from error
