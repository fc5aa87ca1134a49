"""Values that a browser keeps for us, signed so that it cannot change them, each for one purpose and a time. Pure."""

import base64
import hmac
from datetime import datetime
from typing import TypeVar

import msgspec

_LONGEST = 4000  # characters

V = TypeVar("V", bound=msgspec.Struct)


class _Sealed(msgspec.Struct, array_like=True):
    expires: float
    value: msgspec.Raw


def sign(value: msgspec.Struct, purpose: str, secret: str, expires: datetime) -> str:
    """Write it."""
    body = msgspec.json.encode([expires.timestamp(), value])
    return f"{_text(body)}.{_text(_mac(body, purpose, secret))}"


def read(text: str, kind: type[V], purpose: str, secret: str, now: datetime) -> V | None:
    """Check and read it; None if it is not ours, of another purpose, or too old."""
    body, _, mac = text.partition(".")
    if len(text) > _LONGEST:
        return None
    try:
        content, signature = _bytes(body), _bytes(mac)
    except ValueError:
        return None
    if not hmac.compare_digest(signature, _mac(content, purpose, secret)):
        return None
    sealed = msgspec.json.decode(content, type=_Sealed)
    return msgspec.json.decode(sealed.value, type=kind) if sealed.expires > now.timestamp() else None


def _mac(body: bytes, purpose: str, secret: str) -> bytes:
    return hmac.digest(secret.encode(), f"{purpose}:".encode() + body, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
