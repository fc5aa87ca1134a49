"""The tokens of scripts: `hp_` and 40 random characters, of which the store keeps the SHA-256."""

import secrets
import string
from datetime import datetime

from receiver.store.access import Token
from receiver.web.access.viewer import Role

PREFIX = "hp_"  # secret scanners and people recognise it
_LETTERS = string.ascii_letters + string.digits
_LENGTH = 40
LONGEST_NAME = 100  # characters

SCOPES = {"read": Role.VIEWER, "act": Role.RESPONDER, "admin": Role.ADMIN}


def new_token() -> str:
    """Make one; 238 bits."""
    return PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def works(token: Token, now: datetime) -> bool:
    """Say whether it grants anything now."""
    return token.revoked is None and (token.expires is None or token.expires > now)
