"""Tells who somebody at PagerDuty is here, and which of them is the user by whom we write there ourselves."""

from receiver.actions.answer import Actions
from receiver.clients.pagerduty import Agent
from receiver.clients.pagerduty_lookup import PagerDutyLookup


class PagerDutyPeople:
    """``lookup`` asks for mail addresses, ``ours`` is that of our own user. PagerDutyError if it does not answer."""

    def __init__(self, actions: Actions, lookup: PagerDutyLookup | None = None, ours: str = "") -> None:
        self._actions, self._lookup, self._ours = actions, lookup, ours.casefold()

    async def name(self, agent: Agent | None) -> str:
        """Name a configured person: found by the id of their user, the name, else the mail address; "" for no person.

        What our own user has done is an echo of what was done here, so that is nobody, either.
        """
        if agent is None or not agent.person or await self._is_ours(agent):
            return ""
        if key := self._actions.of_pagerduty(agent.id):
            return key
        if self._lookup is not None and agent.id and not self._actions.knows(agent.person):
            address = await self._lookup.address(agent.id)
            if self._actions.knows(address):
                return address
        return agent.person

    async def chosen(self, agents: tuple[Agent, ...]) -> str:
        """Name the first of several whom we know; the first, if we know none; "" if there is none."""
        first = ""
        for agent in agents:
            name = await self.name(agent)
            if name and self._actions.knows(name):
                return name
            first = first or name
        return first

    async def _is_ours(self, agent: Agent) -> bool:
        if not self._ours or self._lookup is None or not agent.id:
            return False
        return (await self._lookup.address(agent.id)).casefold() == self._ours
