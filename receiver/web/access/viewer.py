"""Who makes a request, as the pages and the API see it: a person or a program, its role, and how we know."""

from enum import StrEnum

import msgspec
from aiohttp import web


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

    def acts_as(self, claimed: str) -> str:
        """Name who acts: a program that is nobody's may say for whom it does, and a person is always that person."""
        return self.person or (claimed if self.via == "token" else "") or self.name

    def may(self, needed: Role, incident: int | None = None) -> bool:
        """Say whether this is allowed; ``incident`` is the one that it is about, None for everything else."""
        return self.role >= needed and self.incident in {None, incident}


VIEWER = web.RequestKey("viewer", Viewer)
ADDRESS = web.RequestKey("address", str)  # where the request came from, as far as that can be believed
