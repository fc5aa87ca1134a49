"""Reads the file of `--web.config.file` as Prometheus and its exporters know it: TLS, and basic auth by bcrypt hashes.

github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

import asyncio
import base64
import binascii
import hashlib
import ssl
from pathlib import Path
from typing import Annotated, Literal

import bcrypt
import msgspec
from aiohttp import web

from process.settings import Source, Strict
from process.web import problem

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_REMEMBERED = 100  # checks that are remembered: bcrypt takes 50 ms and more, and Prometheus comes every 15 s
# Compared against when the user is unknown, so that the time of the answer does not tell who exists.
_NOBODY = "$2b$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"


class Tls(Strict, frozen=True):
    """`tls_server_config`."""

    cert_file: Path
    key_file: Path
    client_auth_type: Literal["NoClientCert", "RequireAndVerifyClientCert", "VerifyClientCertIfGiven"] = "NoClientCert"
    client_ca_file: Path | None = None
    min_version: Literal["TLS12", "TLS13"] = "TLS12"


class WebConfig(Strict, frozen=True):
    """The whole file."""

    tls_server_config: Tls | None = None
    basic_auth_users: dict[str, Annotated[str, msgspec.Meta(pattern=r"^\$2[abxy]?\$\d\d\$.{53}$")]] = {}


def load(path: Path) -> tuple[WebConfig, ssl.SSLContext | None]:
    """Read the file and the certificates that it names; SettingsError names file, line and fix."""
    source = Source(path)
    config = source.convert(WebConfig)
    return config, None if config.tls_server_config is None else _context(config.tls_server_config, source)


def _context(tls: Tls, source: Source) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = _VERSIONS[tls.min_version]
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        fix = f"cannot use {tls.cert_file} with {tls.key_file} ({type(error).__name__}): PEM files that belong together"
        raise source.error(".tls_server_config.cert_file", fix) from error
    if tls.client_auth_type != "NoClientCert":
        if tls.client_ca_file is None:
            raise source.error(".tls_server_config.client_auth_type", "client_ca_file is needed to verify clients")
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(tls.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise source.error(".tls_server_config.client_ca_file", f"cannot read {tls.client_ca_file}") from error
    return context


class BasicAuth:
    """Checks user and password; without users everybody may pass."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self._passed: dict[bytes, None] = {}

    async def refuse(self, request: web.Request) -> web.Response | None:
        """Give the answer 401, or None if the request may pass."""
        if not self._users or await self._matches(request.headers.get("Authorization", "")):
            return None
        response = problem(401, "user or password is missing or wrong; they stand in the --web.config.file")
        response.headers["WWW-Authenticate"] = 'Basic realm="metrics", charset="UTF-8"'
        return response

    async def _matches(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
            name = user.decode()
        except (binascii.Error, ValueError):
            return False
        if scheme.lower() != "basic":
            return False
        stored = self._users.get(name, _NOBODY)
        seen = hashlib.sha256(b"\0".join([user, stored.encode(), password])).digest()
        if seen in self._passed:
            return True
        right = await asyncio.to_thread(bcrypt.checkpw, password[:72], stored.encode()) and name in self._users
        if right:
            if len(self._passed) >= _REMEMBERED:
                self._passed.clear()
            self._passed[seen] = None
        return right
