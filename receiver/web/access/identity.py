"""Says who a sign-in means and what they may do: from a name, a mail address or groups to a person and a role. Pure."""

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from receiver.messages.i18n import one_line
from receiver.policy.current import Current
from receiver.web.access.viewer import Role

_LONGEST = 200  # characters of a name that a provider or proxy may give


class Members(Protocol):
    """As receiver.config.console.Members."""

    @property
    def people(self) -> list[str]:
        """Keys, names and mail addresses."""

    @property
    def groups(self) -> list[str]:
        """Groups."""


class Identity(msgspec.Struct, frozen=True):
    """Who it is: ``name`` is what they signed in with, ``person`` their key in `people`, if they are in it."""

    person: str
    name: str
    groups: tuple[str, ...] = ()


class Roles:
    """Gives roles by the settings of now; ``members`` gives those of each role, and ``rest`` the two others."""

    def __init__(
        self, current: Current, members: Callable[[Role], Members], rest: Callable[[], tuple[str, str]]
    ) -> None:
        self._current, self._members, self._rest = current, members, rest

    def identity(self, name: str, groups: Iterable[str] = ()) -> Identity:
        """Say who is meant by a name; only groups that the settings name are kept, so that there are not too many."""
        known = {group for role in Role for group in self._members(role).groups}
        named = tuple(sorted(known.intersection(groups)))
        return Identity(self.person(name), one_line(name, _LONGEST), named)

    def person(self, name: str) -> str:
        """Give the key of the one person who has this key or mail address; empty for nobody, and for several."""
        people = self._current.routing.people
        if name in people:
            return name
        if "@" not in name:
            return ""
        wanted = name.casefold()
        keys = {
            key
            for key, person in people.items()
            for contact in person.contacts
            if contact.channel == "email" and wanted in (one.strip().casefold() for one in contact.address.split(","))
        }
        return keys.pop() if len(keys) == 1 else ""

    def is_known(self, person: str) -> bool:
        """Say whether this key is configured."""
        return person in self._current.routing.people

    def shown(self, identity: Identity) -> str:
        """Give the name that is shown."""
        return self._current.routing.directory.name(identity.person) if identity.person else identity.name

    def role(self, identity: Identity) -> Role | None:
        """Give the highest of their roles; None if they may not even look."""
        names = {identity.person, identity.name} - {""}
        for role in sorted(Role, reverse=True):
            members = self._members(role)
            if names.intersection(members.people) or set(identity.groups).intersection(members.groups):
                return role
        people, others = self._rest()
        rest = people if identity.person else others
        return None if rest == "none" else Role(rest)
