"""The settings of the console: how people sign in, what they may do, which proxies are believed."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from process.addresses import is_http, is_loopback
from process.settings import Duration, Findings, Secret, Source, Strict

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_SHORTEST_SESSION, _LONGEST_SESSION = 300.0, 366 * 86400.0  # seconds

Claim = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class OidcSettings(Strict, frozen=True, kw_only=True):
    """Sign-in by an OpenID Connect provider; needs `pip install 'heypeter-monitoring[oidc]'`."""

    issuer: str
    """URL of the provider, which is also the `iss` of its tokens"""
    client_id: Annotated[str, msgspec.Meta(min_length=1)]
    """Id of this receiver at the provider; its redirect URI there is `<external_url>/sign-in/oidc/callback`"""
    client_secret: Secret | None = None
    """Its secret"""
    client_secret_file: Path | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=60)] = "OpenID Connect"
    """Name on the button"""
    scopes: tuple[Claim, ...] = ("openid", "email", "profile")
    """Scopes that are asked for"""
    person_claim: Claim = "email"
    """Claim that names the person: by mail address, or by key in `people`"""
    groups_claim: Claim = "groups"
    """Claim that lists groups"""
    require_verified_email: bool = True
    """Whether an `email` counts only with `email_verified`"""


class ProxySettings(Strict, frozen=True, kw_only=True):
    """Sign-in by a proxy that has signed the person in, and says so in a header."""

    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Networks of the proxy; from everywhere else the header is not looked at"""
    header: str = "X-Forwarded-User"
    """Header with a key in `people` or a mail address"""
    groups_header: str = ""
    """Header with groups, separated by commas"""


class SignIn(Strict, frozen=True, kw_only=True):
    """How people sign in; without any, by the link that is printed at the start."""

    basic: bool = False
    """Names and passwords of the --web.config.file"""
    oidc: OidcSettings | None = None
    """A provider of OpenID Connect"""
    proxy: ProxySettings | None = None
    """A proxy that signs people in"""


class Members(Strict, frozen=True, kw_only=True):
    """Who has a role."""

    people: list[str] = []
    """Keys in `people`, or the names and mail addresses that others sign in with"""
    groups: list[str] = []
    """Groups of the provider or proxy"""


class RolesSettings(Strict, frozen=True, kw_only=True):
    """Who may do what; of several roles, the highest counts."""

    viewer: Members = Members()
    """Those who may read"""
    responder: Members = Members()
    """Those who may also act: acknowledge, resolve, cover, silence"""
    admin: Members = Members()
    """Those who may also manage tokens, sessions and overrides of others, and read the audit log"""
    people: Literal["none", "viewer", "responder", "admin"] = "responder"
    """Role of everybody in `people` who is not named here"""
    others: Literal["none", "viewer", "responder"] = "none"
    """Role of everybody else who can sign in"""


class ConsoleSettings(Strict, frozen=True, kw_only=True):
    """The pages of the console."""

    enabled: bool = True
    """Whether the pages are served"""
    sign_in: SignIn = SignIn()
    """How people sign in"""
    roles: RolesSettings = RolesSettings()
    """What they may do"""
    session_valid_for: Duration = Duration(30 * 86400)
    """How long a sign-in lasts; 5m to 366d"""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies whose X-Forwarded-For is believed"""


def check_console(console: ConsoleSettings, source: Source, findings: Findings) -> None:
    """Collect what is wrong."""
    _check_networks(".console.trusted_proxies", console.trusted_proxies, source, findings)
    if not _SHORTEST_SESSION <= console.session_valid_for <= _LONGEST_SESSION:
        findings.add(source.error(".console.session_valid_for", "must be 5m to 366d"))
    if console.sign_in.proxy is not None:
        _check_proxy(console.sign_in.proxy, source, findings)
    if console.sign_in.oidc is not None:
        _check_oidc(console.sign_in.oidc, source, findings)


def _check_proxy(proxy: ProxySettings, source: Source, findings: Findings) -> None:
    at = ".console.sign_in.proxy"
    _check_networks(f"{at}.addresses", proxy.addresses, source, findings)
    for key, name in (("header", proxy.header), ("groups_header", proxy.groups_header)):
        if not (_HEADER.fullmatch(name) or (key == "groups_header" and not name)):
            findings.add(source.error(f"{at}.{key}", f"invalid header {name!r} (expected e.g. X-Forwarded-User)"))
    for index, network in enumerate(proxy.addresses):
        if network.endswith("/0"):
            text = "everybody could say who they are; name the addresses of the proxy"
            findings.add(source.error(f"{at}.addresses[{index}]", text))


def _check_oidc(oidc: OidcSettings, source: Source, findings: Findings) -> None:
    at = ".console.sign_in.oidc"
    if not is_http(oidc.issuer):
        findings.add(source.error(f"{at}.issuer", "invalid URL (expected e.g. https://accounts.google.com)"))
    elif not (oidc.issuer.startswith("https:") or is_loopback(urlsplit(oidc.issuer).hostname or "")):
        findings.add(source.error(f"{at}.issuer", "must be https: whoever reads it on the way could sign in"))
    if "openid" not in oidc.scopes:
        findings.add(source.error(f"{at}.scopes", "openid is missing"))


def _check_networks(at: str, networks: tuple[str, ...], source: Source, findings: Findings) -> None:
    for index, network in enumerate(networks):
        try:
            ip_network(network, strict=False)
        except ValueError as error:
            findings.add(source.error(f"{at}[{index}]", f"{error} (expected e.g. 10.0.0.0/8)"))
