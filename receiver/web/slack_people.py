"""Who somebody in Slack is here: by their Slack id in receiver.yml, else by the e-mail address of their profile."""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from receiver.channels.base import SendError
from receiver.channels.slack_api import SlackApi
from receiver.policy.current import Current

log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds; Slack waits three for our answer
_KEPT, _RETRIED = timedelta(hours=1), timedelta(minutes=5)
_MOST = 1000  # people whose address is remembered


class Who(msgspec.Struct, frozen=True):
    """``key`` is of a configured person, or names somebody whom the settings do not know."""

    key: str
    known: bool


class SlackPeople:
    """Looks people up; what Slack said of an address is remembered for an hour."""

    def __init__(self, current: Current, clock: Callable[[], datetime], api: SlackApi | None = None) -> None:
        self._current, self._clock, self._api = current, clock, api
        self._emails: dict[str, tuple[datetime, str]] = {}

    async def who(self, user: str, name: str) -> Who:
        """Say who it is; somebody who is not in the settings may answer all the same."""
        key = slack_ids(self._current).get(user) or await self._by_email(user)
        if key:
            return Who(key, known=True)
        return Who(f"slack:{user[:20]} ({' '.join(name.split())[:60] or 'unknown'})", known=False)

    async def _by_email(self, user: str) -> str:
        """Give the person whose one e-mail address it is; "" if there is none, or Slack does not say."""
        address = await self._email(user)
        return (self._current.routing.directory.key(address) or "") if "@" in address else ""

    async def _email(self, user: str) -> str:
        now, known = self._clock(), self._emails.get(user)
        if known is not None and known[0] > now:
            return known[1]
        if self._api is None or not user.isalnum() or len(user) > 30:  # noqa: PLR2004  # as their ids are
            return ""
        try:
            answer = await self._api.ask("users.info", asyncio.get_running_loop().time() + _PATIENCE, user=user)
        except SendError as error:
            log.info("cannot ask Slack for the address of %s: %s", user, error)
            address, kept = "", _RETRIED
        else:
            address, kept = _address(answer), _KEPT
        while len(self._emails) >= _MOST:
            del self._emails[next(iter(self._emails))]
        self._emails[user] = (now + kept, address)
        return address


def _address(answer: dict[str, object]) -> str:
    """Read the address of a profile; a guest's or another workspace's proves nothing."""
    user = answer.get("user")
    if not isinstance(user, dict) or user.get("is_restricted") or user.get("is_stranger") or user.get("deleted"):
        return ""
    profile = user.get("profile")
    address = profile.get("email") if isinstance(profile, dict) and user.get("is_email_confirmed", True) else ""
    return address[:320] if isinstance(address, str) else ""


def slack_ids(current: Current) -> dict[str, str]:
    """Give the keys of people by their Slack id; an id that two people share is left out."""
    owners: dict[str, set[str]] = {}
    for key, person in current.routing.people.items():
        for contact in person.contacts:
            if contact.channel == "slack":
                owners.setdefault(contact.address, set()).add(key)
    return {address: next(iter(keys)) for address, keys in owners.items() if len(keys) == 1}
