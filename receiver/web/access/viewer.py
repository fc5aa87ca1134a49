"""Who makes a request, as the pages and the API see it: a person or a program, its role, and how we know."""

from collections.abc import Awaitable, Callable
from enum import StrEnum

import msgspec
from aiohttp import web

from receiver.store.base import StoreError


class Role(StrEnum):
    """What somebody may do; each may do what those before it may, so that ``role >= Role.RESPONDER`` can be asked."""

    VIEWER = "viewer"  # reads
    RESPONDER = "responder"  # acts on incidents, covers shifts, silences
    ADMIN = "admin"  # also tokens, sessions and overrides of others

    @property
    def _rank(self) -> int:
        return list(Role).index(self)

    def __lt__(self, other: str) -> bool:
        return self._rank < Role(other)._rank

    def __le__(self, other: str) -> bool:
        return self._rank <= Role(other)._rank

    def __gt__(self, other: str) -> bool:
        return self._rank > Role(other)._rank

    def __ge__(self, other: str) -> bool:
        return self._rank >= Role(other)._rank


class Viewer(msgspec.Struct, frozen=True):
    """Who it is. ``person`` is a key in `people`, or empty for somebody who is not in it.

    ``via`` is "session", "token", "proxy", "basic", "link" or "loopback". With an ``incident``, which the link of a
    message gives, everything else is out of reach: ask ``may``.
    """

    person: str
    name: str
    role: Role
    via: str
    incident: int | None = None

    @property
    def actor(self) -> str:
        """What timelines and the audit log name: the key of a person, or the name of somebody else."""
        return self.person or self.name

    @property
    def way(self) -> str:
        """Say by which way for the audit log: of a token of nobody also its name, as it may act for anybody."""
        return f"{self.via} {self.name}" if self.via == "token" and not self.person else self.via

    def acts_as(self, claimed: str) -> str:
        """Name who acts: a program that is nobody's may say for whom it does, and a person is always that person."""
        return self.person or (claimed if self.via == "token" else "") or self.name

    def may(self, needed: Role, incident: int | None = None) -> bool:
        """Say whether this is allowed; ``incident`` is the one that it is about, None for everything else."""
        return self.role >= needed and self.incident in {None, incident}


class StillSignedIn:
    """Asks again whether the viewer may go on looking: a stream, which goes on for hours, must do so now and then."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask

    async def __call__(self) -> bool:
        """Say whether the session, token or link still grants this; yes, while the store cannot tell."""
        try:
            return await self._ask()
        except StoreError:
            return True


VIEWER = web.RequestKey("viewer", Viewer)
ADDRESS = web.RequestKey("address", str)  # where the request came from, as far as that can be believed
STILL_SIGNED_IN = web.RequestKey("still_signed_in", StillSignedIn)
