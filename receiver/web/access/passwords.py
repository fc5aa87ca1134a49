"""Checks names and passwords of the --web.config.file, from the form and from HTTP basic auth, never too many."""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from aiohttp import web

from process.client_address import Clients, forwarded
from process.settings import Secret
from process.web_config import Credentials, Verdict, WebAccess
from receiver.web.access import signed_value
from receiver.web.access.attempts import Attempts
from receiver.web.access.session_cookie import Cookies

log = logging.getLogger(__name__)

_DEVICE = "heypeter-device"
_DEVICE_LASTS = timedelta(days=180)
_LONGEST = 200  # characters of a name


class Checked(StrEnum):
    """What became of a try."""

    RIGHT = "right"
    WRONG = "wrong"
    LIMITED = "limited"


class _Device(msgspec.Struct, array_like=True):
    name: str


class Passwords:
    """``check`` before anything else is done with a name."""

    def __init__(
        self, access: WebAccess, clients: Clients, clock: Callable[[], datetime], secret: Secret, cookies: Cookies
    ) -> None:
        self._cookies = cookies
        self._access, self._clients, self._clock, self._secret = access, clients, clock, secret
        self._attempts = Attempts()

    async def check(self, request: web.Request, credentials: Credentials) -> tuple[Checked, float]:
        """Say what a name and password are, and for LIMITED how many seconds to wait."""
        name, now = credentials.user.decode("utf-8", "replace"), self._clock()
        networks = self._clients.networks(request.remote or "", forwarded(request.headers))
        device = self._device(request, name, now)
        # What somebody typed may be anything, even a password: the tables hold its hash.
        key = hashlib.sha256(credentials.user).hexdigest()
        wait = self._attempts.wait(key, networks, device, now)
        if wait:
            return Checked.LIMITED, wait
        verdict = Verdict.WRONG
        if len(name) <= _LONGEST:
            verdict = await self._access.check(credentials, networks[0])
        if verdict is Verdict.RIGHT:
            self._attempts.passed(key, networks)
            return Checked.RIGHT, 0.0
        if verdict is Verdict.BUSY:
            return Checked.LIMITED, 5.0
        self._attempts.failed(key, networks, device, now)
        address = self._clients.address(request.remote or "", forwarded(request.headers))
        log.info("sign-in: wrong name or password from %s", address)
        return Checked.WRONG, 0.0

    def has(self, name: str) -> bool:
        """Say whether somebody may still sign in by this name."""
        return self._access.has(name)

    def remember(self, request: web.Request, response: web.StreamResponse, name: str) -> None:
        """Let the browser show next time that this name has signed in there."""
        value = signed_value.sign(_Device(name), "device", self._secret.reveal(), self._clock() + _DEVICE_LASTS)
        seconds = int(_DEVICE_LASTS.total_seconds())
        self._cookies.put(request, response, value, seconds, _DEVICE)

    def _device(self, request: web.Request, name: str, now: datetime) -> str:
        """Give what stands for the browser; empty if this name has not signed in there."""
        text = self._cookies.read(request, _DEVICE)
        device = signed_value.read(text, _Device, "device", self._secret.reveal(), now) if text else None
        return hashlib.sha256(text.encode()).hexdigest() if device is not None and device.name == name else ""
