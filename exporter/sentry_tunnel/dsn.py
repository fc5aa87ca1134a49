"""Knows to which Sentry projects the tunnel may report, and at which URL each takes envelopes. Pure.

develop.sentry.dev/sdk/foundations/transport/authentication/ says how one follows from the other.
"""

import re
from typing import Annotated, Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from process.settings import Duration

# As the SDK reads a DSN (sentry-javascript, packages/core/src/utils/dsn.ts).
_DSN = re.compile(
    r"(?P<scheme>https?)://(?P<key>\w+)(?P<secret>:\w*)?@(?P<host>\[[:.%\w]+\]|[\w.-]+)(?P<port>:\d+)?"
    r"(?P<path>/(?:[^/?#\s]+/)*)(?P<project>\d+)",
    re.ASCII,
)

Level = Literal["fatal", "error", "warning", "log", "info", "debug"]


class TunnelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What browsers may send to Sentry through us."""

    path: Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9._~/-]+$")] = "/api/report"
    dsns: tuple[str, ...] = ()
    upstream: dict[str, str] = {}  # DSN -> base URL of a Relay or another Sentry that takes its envelopes instead
    max_body: Annotated[int, msgspec.Meta(ge=1024, le=200 * 1024 * 1024)] = 2 * 1024 * 1024
    drop_levels: tuple[Level, ...] = ("warning",)
    timeout: Duration = Duration(10)
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 64

    def __post_init__(self) -> None:
        """Refuse what could never forward anything; msgspec makes it an error with its place in the file."""
        endpoints(self)
        if self.timeout <= 0:
            raise ValueError("timeout must be longer than 0s")


def endpoints(settings: TunnelSettings) -> dict[str, str]:
    """Compute for each DSN the URL that takes its envelopes; ValueError names the fix, and no key."""
    unknown = set(settings.upstream) - set(settings.dsns)
    if unknown:
        raise ValueError("upstream names a DSN that dsns does not; write both alike")
    return {dsn: _endpoint(dsn, settings.upstream.get(dsn, "")) for dsn in settings.dsns}


def _endpoint(dsn: str, base: str) -> str:
    found = _DSN.fullmatch(dsn)
    if not found:
        raise ValueError("a DSN is written https://KEY@HOST/PROJECT, as Sentry shows it under Client Keys")
    if found["secret"]:
        raise ValueError("leave the secret part away from the DSN (https://KEY@HOST/PROJECT): browsers never send it")
    if base and (
        urlsplit(base).scheme not in {"http", "https"} or not urlsplit(base).hostname or set(base) & set("?#@")
    ):
        raise ValueError("an upstream is a base URL, as http://relay.internal:3000")
    base = base.rstrip("/") or f"{found['scheme']}://{found['host']}{found['port'] or ''}{found['path'].rstrip('/')}"
    query = urlencode({"sentry_version": "7", "sentry_key": found["key"]})
    return f"{base}/api/{found['project']}/envelope/?{query}"
