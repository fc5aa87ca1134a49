"""Reads the file of `--web.config.file` as Prometheus and its exporters know it: TLS, and basic auth by bcrypt hashes.

github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import ssl
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import bcrypt
import msgspec
from aiohttp import web

from process.listener import note_authenticated
from process.settings import SettingsError, Source, Strict
from process.web import problem

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_REMEMBERED = 100  # checks that are remembered: bcrypt takes 50 ms and more, and Prometheus comes every 15 s
# Checks that wait for their turn, of all peers and of one: a flood of wrong passwords must end in refusals, not in a
# queue, and one peer's flood must leave places for the others.
_MAX_WAITING, _MAX_WAITING_OF_ONE = 16, 4


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
    basic_auth_users: dict[
        str, Annotated[str, msgspec.Meta(pattern=r"^\$2[abxy]?\$\d\d\$.{53}$", examples=["a bcrypt hash, $2y$…"])]
    ] = {}


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


class Verdict(Enum):
    """What a password is."""

    RIGHT = "right"
    WRONG = "wrong"
    BUSY = "busy"  # too many are being checked


class Credentials(NamedTuple):
    """A name and a password, as they were sent."""

    user: bytes
    password: bytes


class WebAccess:
    """TLS and users of a process that serves with this file, or with none; a reload renews users and certificates.

    The context stays the same, for the listener holds it: a renewed certificate is shown to whoever connects next.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the file; SettingsError as ``load``."""
        self._path = path
        config, self.tls = (WebConfig(), None) if path is None else load(path)
        self._auth = BasicAuth(config.basic_auth_users)

    async def refuse(self, request: web.Request) -> web.Response | None:
        """Give the answer to who may not pass, or None; see ``BasicAuth``."""
        return await self._auth.refuse(request)

    async def check(self, credentials: Credentials, peer: str) -> Verdict:
        """Say whether this is the password of a user of the file."""
        return await self._auth.check(credentials, peer)

    def has(self, user: str) -> bool:
        """Say whether the file has a user of this name."""
        return self._auth.has(user)

    @property
    def has_users(self) -> bool:
        """Say whether the file has any user."""
        return self._auth.has_users

    def prepare(self) -> Callable[[], None]:
        """Read the file again; gives what takes it. SettingsError: nothing has changed, and nothing will."""
        if self._path is None:
            return lambda: None
        config, tls = load(self._path)
        settings, context = config.tls_server_config, self.tls
        if (tls is None) != (context is None):
            raise SettingsError(f"{self._path}: tls_server_config cannot come or go while the process runs; restart it")

        def take() -> None:
            self._auth = BasicAuth(config.basic_auth_users)
            if settings is not None and context is not None:
                context.load_cert_chain(settings.cert_file, settings.key_file)

        return take


class BasicAuth:
    """Checks user and password; without users everybody may pass.

    bcrypt runs in one thread of its own: it must not hold up the journal's syncs, which have threads, too.
    """

    def __init__(self, users: dict[str, str]) -> None:
        self._users, self._hashes = users, sorted(users.values())
        self._passed: dict[bytes, None] = {}
        self._waiting: Counter[str] = Counter()  # by peer
        self._key = os.urandom(16)
        self._thread = ThreadPoolExecutor(1, "bcrypt")

    async def refuse(self, request: web.Request) -> web.Response | None:
        """Give the answer 401, or 429 while too many are being checked, or None if the request may pass."""
        if not self._users:
            return None
        credentials = credentials_of(request.headers.get("Authorization", ""))
        if credentials is None:
            return _refusal()
        match await self.check(credentials, request.remote or ""):
            case Verdict.BUSY:
                return problem(429, "too many passwords are being checked; try again in a few seconds")
            case Verdict.WRONG:
                return _refusal()
        note_authenticated()
        return None

    async def check(self, credentials: Credentials, peer: str) -> Verdict:
        """Say whether this is the password of a user; without users nobody has one."""
        if not self._users:
            return Verdict.WRONG
        stored = self._stored(credentials.user)
        seen = hashlib.sha256(b"\0".join([credentials.user, stored.encode(), credentials.password])).digest()
        if seen in self._passed:
            return Verdict.RIGHT
        if self._waiting.total() >= _MAX_WAITING or self._waiting[peer] >= _MAX_WAITING_OF_ONE:
            return Verdict.BUSY
        if not await self._is_right(credentials, stored, peer):
            return Verdict.WRONG
        self._remember(seen)
        return Verdict.RIGHT

    @property
    def has_users(self) -> bool:
        """Say whether there is any."""
        return bool(self._users)

    def has(self, user: str) -> bool:
        """Say whether there is a user of this name."""
        return user in self._users

    def _stored(self, user: bytes) -> str:
        """Return the user's hash; for an unknown user somebody's, always the same, so that it takes as long."""
        stored = self._users.get(user.decode("utf-8", "replace"))
        if stored is None:
            digest = hmac.digest(self._key, user, "sha256")
            stored = self._hashes[int.from_bytes(digest[:8], "big") % len(self._hashes)]
        return stored

    async def _is_right(self, credentials: Credentials, stored: str, peer: str) -> bool:
        self._waiting[peer] += 1
        try:
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._thread, _check, credentials.password, stored)
        finally:
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]
        return matches and credentials.user.decode("utf-8", "replace") in self._users

    def _remember(self, seen: bytes) -> None:
        if len(self._passed) >= _REMEMBERED:
            self._passed.clear()
        self._passed[seen] = None


def _refusal() -> web.Response:
    response = problem(401, "user or password is missing or wrong; they stand in the --web.config.file")
    response.headers["WWW-Authenticate"] = 'Basic realm="metrics", charset="UTF-8"'
    return response


def _check(password: bytes, stored: str) -> bool:
    try:
        return bcrypt.checkpw(password[:72], stored.encode())
    except ValueError:  # a NUL byte in the password
        return False


def credentials_of(header: str) -> Credentials | None:
    """Read `Basic …`; None if it is anything else."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
        user.decode()
    except (binascii.Error, ValueError):
        return None
    return Credentials(user, password)
