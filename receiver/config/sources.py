"""The Alertmanagers that send here: where each is asked, with what credentials, and what is merged."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from process.findings import Findings
from process.settings import Duration, Secret, SettingsError, Source, Strict
from receiver.incident.model import DEFAULT_SOURCE

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # rfc-editor.org/rfc/rfc9110#section-5.6.2


class BasicAuth(Strict, frozen=True, kw_only=True):
    """A user name and a password, here or in a file."""

    username: str
    """User name"""
    password: Secret | None = None
    """Password"""
    password_file: Path | None = None


class ServerTrust(Strict, frozen=True, kw_only=True):
    """How an HTTPS server is checked, and the certificate shown to it; names as in Prometheus' tls_config."""

    ca_file: Path | None = None
    """Certificates of the authorities that are trusted; those of the system, if unset"""
    cert_file: Path | None = None
    """Certificate that is shown to the server"""
    key_file: Path | None = None
    """Its private key"""
    insecure_skip_verify: bool = False
    """Do not check the server's certificate"""


class AlertmanagerSource(Strict, frozen=True, kw_only=True):
    """One Alertmanager; its webhooks go to /webhook/alertmanager/<name>. Without ``url`` it is not asked."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", examples=["eu-west"])] = DEFAULT_SOURCE
    """Name in the path of its webhook; `alertmanager` has none"""
    url: str = ""
    """Address of its API; without it, it is not asked"""
    headers: dict[str, str] = {}
    """Headers that are sent to both APIs, X-Scope-OrgID for example"""
    basic_auth: BasicAuth | None = None
    """User name and password for both APIs"""
    token: Secret | None = None
    """Bearer token for both APIs"""
    token_file: Path | None = None
    tls: ServerTrust = ServerTrust()
    """How an HTTPS server is checked"""
    interval: Duration = Duration(60)
    """Time between two comparisons of incidents with its API"""
    receivers: list[str] = []
    """Names of its receivers that send here; all of its alerts are compared, if empty"""
    merge_receivers: list[str] = []
    """Names of receivers of which an alert that arrives by several is one incident"""
    missed_after: Duration = Duration(600)
    """An alert that has been firing for this long without a webhook opens an incident"""
    prometheus_url: str = ""
    """Prometheus that knows what fired while the receiver was down, and gives the series of charts"""


def sources(
    default: AlertmanagerSource | None, more: list[AlertmanagerSource]
) -> dict[str, tuple[str, AlertmanagerSource]]:
    """Give each source by name, with where it is in the file; the default one is always there."""
    by_name = {DEFAULT_SOURCE: (".alertmanager", default or AlertmanagerSource())}
    return by_name | {one.name: (f".alertmanagers[{n}]", one) for n, one in enumerate(more)}


def check_sources(
    default: AlertmanagerSource | None, more: list[AlertmanagerSource], source: Source, findings: Findings
) -> None:
    """Find what contradicts itself."""
    if default and default.name != DEFAULT_SOURCE:
        findings.add(source.error(".alertmanager.name", "the default source has no name; use `alertmanagers`"))
    names = [DEFAULT_SOURCE] if default else []
    for number, one in enumerate(more):
        if one.name in names:
            findings.add(
                source.error(f".alertmanagers[{number}].name", f"{one.name!r} is used twice; choose another name")
            )
        names.append(one.name)
    for at, one in sources(default, more).values():
        for error in _contradictions(at, one, source):
            findings.add(error)


def _contradictions(at: str, one: AlertmanagerSource, source: Source) -> Iterator[SettingsError]:
    if one.basic_auth and (one.token or one.token_file):
        yield source.error(f"{at}.basic_auth", "set either basic_auth or token (token_file)")
    if bool(one.tls.cert_file) != bool(one.tls.key_file):
        yield source.error(f"{at}.tls", "set both cert_file and key_file, or neither")
    for name, value in one.headers.items():
        if not _HEADER.fullmatch(name) or not value.isprintable():
            yield source.error(f"{at}.headers", f"{name!r} cannot be sent; give a name and a text of one line")
    if len(one.merge_receivers) == 1:
        yield source.error(f"{at}.merge_receivers", "name at least two receivers")
