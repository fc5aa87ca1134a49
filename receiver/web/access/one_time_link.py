"""The link that is printed at the start of a receiver without another way to sign in: whoever reads it runs it."""

import hmac
import secrets


class OneTimeLink:
    """Works once; a process makes one."""

    def __init__(self) -> None:
        self._token = secrets.token_urlsafe(32)
        self.is_used = False

    @property
    def path(self) -> str:
        """Give the path of the link below the console's address."""
        return f"/sign-in/{self._token}"

    def use(self, token: str) -> bool:
        """Say whether this is it, and it has not been used; it is by then."""
        works = hmac.compare_digest(token.encode("utf-8", "surrogateescape"), self._token.encode()) and not self.is_used
        self.is_used = self.is_used or works
        return works
