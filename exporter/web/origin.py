"""Decides whether a page's origin may post: a configured one, or the host that the request itself names. Pure."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_HOST = r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
# A scheme, a host and perhaps a port (fetch.spec.whatwg.org/#origin-header); `null` and other schemes are refused.
_ORIGIN = re.compile(rf"(?P<scheme>https?)://{_HOST}", re.ASCII | re.IGNORECASE)
_AUTHORITY = re.compile(_HOST, re.ASCII | re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_LENGTH = 300  # characters; a host name has at most 253


class _Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Origins:
    """The origins of a configuration, in any case and with or without their default port."""

    def __init__(self, configured: Iterable[str]) -> None:
        self._configured = {_parsed(origin) for origin in configured} - {None}

    def allow(self, origin: str, host: str) -> bool:
        """Whether a page of ``origin`` may post to us as ``host``, which is the request's Host header."""
        parsed = _parsed(origin)
        return parsed is not None and (parsed in self._configured or _is_same(parsed, host))


def _parsed(origin: str) -> _Origin | None:
    match = _ORIGIN.fullmatch(origin[:_MAX_LENGTH])
    if match is None:
        return None
    scheme = match["scheme"].lower()
    return _Origin(scheme, match["host"].lower(), int(match["port"] or _DEFAULT_PORTS[scheme]))


def _is_same(origin: _Origin, host: str) -> bool:
    """Compare with the Host header. A proxy that ends TLS may name its own default port there, 80 or 443."""
    match = _AUTHORITY.fullmatch(host[:_MAX_LENGTH])
    if match is None or match["host"].lower() != origin.host:
        return False
    default = _DEFAULT_PORTS[origin.scheme]
    port = int(match["port"] or default)
    return port == origin.port or (origin.port == default and port in _DEFAULT_PORTS.values())
