"""The settings of the Sentry tunnel, and the URL that takes the envelopes of each DSN. Pure.

How the URL follows from a DSN: develop.sentry.dev/sdk/foundations/transport/authentication/
"""

import re
from typing import Annotated, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from process.settings import Duration, Strict

# As the SDK parses a DSN (sentry-javascript, packages/core/src/utils/dsn.ts).
_DSN = re.compile(
    r"(?P<scheme>https?)://(?P<key>\w+)(?P<secret>:\w*)?@(?P<host>\[[:.%\w]+\]|[\w.-]+)(?P<port>:\d+)?"
    r"(?P<path>/(?:[^/?#\s]+/)*)(?P<project>\d+)",
    re.ASCII,
)

Level = Literal["fatal", "error", "warning", "log", "info", "debug"]


class TunnelSettings(Strict, frozen=True):
    """What browsers may send to Sentry through the exporter."""

    path: Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9._~/-]+$", examples=["/api/report"])] = "/api/report"
    """Path to which browsers post envelopes"""
    dsns: tuple[str, ...] = ()
    """Projects to which reports are forwarded, as https://KEY@HOST/PROJECT; if empty, the tunnel is off"""
    upstream: dict[str, str] = {}
    """DSN to base URL of a Relay or another Sentry that gets its envelopes instead"""
    max_body: Annotated[int, msgspec.Meta(ge=1024, le=200 * 1024 * 1024)] = 2 * 1024 * 1024
    """Bytes of one envelope"""
    drop_levels: tuple[Level, ...] = ("warning",)
    """Events of these levels are not forwarded"""
    timeout: Duration = Duration(10)
    """Time for one call to Sentry, and for the browser to send its envelope"""
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64
    """Calls to Sentry at one time; further envelopes are answered 503"""

    def __post_init__(self) -> None:
        """Check what msgspec cannot; it adds the place in the file to a ValueError."""
        endpoints(self)
        if self.timeout <= 0:
            raise ValueError("timeout must be greater than 0s")


def endpoints(settings: TunnelSettings) -> dict[str, str]:
    """Return the URL for each DSN; ValueError names the fix, and never a key."""
    unknown = set(settings.upstream) - set(settings.dsns)
    if unknown:
        raise ValueError("upstream has a DSN that is not in dsns")
    return {dsn: _endpoint(dsn, settings.upstream.get(dsn, "")) for dsn in settings.dsns}


def _endpoint(dsn: str, base: str) -> str:
    match = _DSN.fullmatch(dsn)
    if not match:
        raise ValueError("invalid DSN (expected https://KEY@HOST/PROJECT, as Sentry shows it under Client Keys)")
    if match["secret"]:
        raise ValueError("remove the secret from the DSN (expected https://KEY@HOST/PROJECT)")
    if base and (
        urlsplit(base).scheme not in {"http", "https"} or not urlsplit(base).hostname or set(base) & set("?#@")
    ):
        raise ValueError("invalid upstream (expected a base URL, e.g. http://relay.internal:3000)")
    base = base.rstrip("/") or f"{match['scheme']}://{match['host']}{match['port'] or ''}{match['path'].rstrip('/')}"
    query = urlencode({"sentry_version": "7", "sentry_key": match["key"]})
    return f"{base}/api/{match['project']}/envelope/?{query}"
