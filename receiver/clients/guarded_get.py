"""Fetches what a secret URL of the configuration gives: few redirects, none into our own network, a bounded answer.

Whoever answers at such a URL may redirect us to a service that only this machine can reach (a cloud's metadata, an
admin port). The configured URL itself may be private: we were told to go there.
"""

import asyncio
import ipaddress
import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

_HOPS = 5
_CHUNK = 1 << 16
_REDIRECTS = {301, 302, 303, 307, 308}
# RFC 6052: an IPv4 address behind a NAT64 gateway.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class FetchError(Exception):
    """It cannot be had; the text never shows the URL, which is a secret, nor anything of the answer but its status."""


async def get(
    session: aiohttp.ClientSession, url: str, *, seconds: float, largest: int, private_redirects: bool
) -> tuple[int, bytes]:
    """Give the status and the body, whose reading stops with FetchError beyond ``largest`` bytes (0: it is not read).

    ``seconds`` cover everything. A redirect to an address that is not public needs ``private_redirects``.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _follow(session, URL(url), largest, private_redirects=private_redirects)
    except TimeoutError:
        raise FetchError(f"no answer within {seconds:g} seconds") from None
    except (aiohttp.ClientError, ValueError, OSError) as error:
        raise FetchError(_reason(error)) from None  # its own text would show the URL


async def _follow(
    session: aiohttp.ClientSession, url: URL, largest: int, *, private_redirects: bool
) -> tuple[int, bytes]:
    status, body, target = await _once(session, url, largest)
    hops = 0
    while target is not None:
        hops += 1
        if hops > _HOPS:
            raise FetchError(f"more than {_HOPS} redirects")
        url = url.join(URL(target))
        if url.scheme not in {"http", "https"} or not url.host:
            raise FetchError("it redirects to an address that is not http or https")
        if private_redirects:
            status, body, target = await _once(session, url, largest)
        else:
            status, body, target = await _once_in_public(url, largest)
    return status, body


async def _once_in_public(url: URL, largest: int) -> tuple[int, bytes, str | None]:
    """Make one request, to public addresses only."""
    if _literal(url.host or "") is not None and not is_public(url.host or ""):
        raise FetchError(_PRIVATE)
    # The addresses are checked where they are used: a name may resolve otherwise the second time it is asked for.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=_PublicOnly())) as session:
        return await _once(session, url, largest)


_PRIVATE = "it redirects to an address that is not public; allow that with `private_redirects: true`"


async def _once(session: aiohttp.ClientSession, url: URL, largest: int) -> tuple[int, bytes, str | None]:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status in _REDIRECTS and "Location" in answer.headers:
            return answer.status, b"", answer.headers["Location"]
        body = bytearray()
        if largest:
            async for chunk in answer.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > largest:
                    raise FetchError(f"it is larger than {largest >> 20} MB")
        return answer.status, bytes(body), None


class _PublicOnly(AbstractResolver):
    """Resolves a name, if all its addresses are public."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give the addresses; FetchError if one of them is not public."""
        addresses = await self._resolver.resolve(host, port, family)
        if not all(is_public(one["host"]) for one in addresses):
            raise FetchError(_PRIVATE)
        return addresses

    async def close(self) -> None:
        """Release what it holds."""
        await self._resolver.close()


def is_public(address: str) -> bool:
    """Say whether an IP address is one of the public internet; what is no address is not."""
    ip = _literal(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    return ip is not None and ip.is_global and not ip.is_multicast


def _literal(host: str) -> Any:  # noqa: ANN401  # an address of either family
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


_SAID: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientPayloadError, "its answer is cut off, or cannot be decompressed"),
    (aiohttp.ClientResponseError, "its answer is not HTTP, or has an unknown Content-Encoding"),
    (ValueError, "it is not a URL that can be read, or it redirects to such a one"),
)


def _reason(error: Exception) -> str:
    """Give the operating system's reason, else what kind of error it is: aiohttp's own texts may hold the URL."""
    system = getattr(error, "os_error", error)
    named = getattr(system, "strerror", None) or type(error).__name__
    if isinstance(error, OSError):  # some of which are ValueErrors: those of certificates
        return str(named)
    return next((text for kind, text in _SAID if isinstance(error, kind)), str(named))
