"""Tells people apart: the key that a text means, and the name that is shown for a key. Pure.

A person is identified by their key in `people:` of receiver.yml. Names are only shown, and two people may share one.
"""

from collections import Counter
from collections.abc import Mapping

from receiver.oncall.contact_rules import Person


class Directory:
    """Looks up the people of one configuration."""

    def __init__(self, people: Mapping[str, Person]) -> None:
        self._names = {key: person.name for key, person in people.items()}
        claims: dict[str, set[str]] = {}
        for key, person in people.items():
            for text in (key, person.name, *_email_addresses(person)):
                claims.setdefault(_fold(text), set()).add(key)
        self._unambiguous = {text: next(iter(keys)) for text, keys in claims.items() if len(keys) == 1}
        users = [(person.pagerduty_user, key) for key, person in people.items() if person.pagerduty_user]
        counts = Counter(user for user, _ in users)
        self._by_pagerduty = {user: key for user, key in users if counts[user] == 1}
        shared = Counter(map(_fold, self._names.values()))
        self._shown = {
            key: name if shared[_fold(name)] == 1 else f"{name} ({key})" for key, name in self._names.items()
        }

    def key(self, text: str) -> str | None:
        """Give the key of the one person whose key, name or e-mail address ``text`` is; None if none or several."""
        return text if text in self._names else self._unambiguous.get(_fold(text))

    def of_pagerduty(self, user: str) -> str | None:
        """Give the key of the one person whose user at PagerDuty has this id; None if none or several."""
        return self._by_pagerduty.get(user)

    def keys_by_name(self) -> dict[str, str]:
        """Give the key for each display name that one person alone has."""
        return {self._shown[key]: key for key in self._shown if self._shown[key] == self._names[key]}

    def name(self, key: str) -> str:
        """Give the name to show; a key that is not configured (any more) is shown itself."""
        return self._shown.get(key, key)


def _fold(text: str) -> str:
    return " ".join(text.split()).casefold()


def _email_addresses(person: Person) -> list[str]:
    return [part for contact in person.contacts if contact.channel == "email" for part in contact.address.split(",")]
