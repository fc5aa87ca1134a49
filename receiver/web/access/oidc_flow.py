"""What a sign-in by OpenID Connect goes through, without the packages that it needs."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec


class Reason(StrEnum):
    """Why nobody was signed in; its phrase is `sign_in_oidc_…`."""

    DENIED = "denied"  # at the provider
    STALE = "stale"  # the cookie is gone or too old, or of another sign-in
    PROVIDER = "provider"  # it does not answer, or refuses what we ask
    INVALID = "invalid"  # what it says is not signed by it, not for us, or not for this sign-in
    UNNAMED = "unnamed"  # it does not say who it is


class OidcError(Exception):
    """Nobody is signed in; the text is for the log, and has nothing secret in it."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """A sign-in that has begun: what the browser keeps until it comes back from the provider."""

    state: str
    nonce: str
    verifier: str
    back: str


class Oidc(Protocol):
    """As receiver.web.access.oidc.Oidc."""

    @property
    def name(self) -> str:
        """Give the name on the button."""

    async def begin(self, back: str) -> tuple[str, Pending]:
        """Give the provider's page, and what is to be kept; OidcError if the provider does not answer."""

    async def finish(self, query: Mapping[str, str], pending: Pending | None) -> tuple[str, tuple[str, ...]]:
        """Give the name and the groups that the provider proves; OidcError if it proves nobody."""
