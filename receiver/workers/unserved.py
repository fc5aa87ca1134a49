"""The round that ends what is owed on channels that have left the configuration: nobody else would ever try it."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from receiver.channels.base import Failure, Message, Receipt, SendError
from receiver.store.base import Store

PERIOD = 5.0  # seconds


class NotConfigured:
    """A channel of which nothing but its name is known; what is owed on it is dead at once."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def send(self, _message: Message) -> Receipt:
        """Refuse; the person's other contacts, the fallback and the next step follow from it."""
        text = f"channels.{self._name} is not configured"
        raise SendError(text, Failure.NOT_CONFIGURED, permanent=True)


class Ending(Protocol):
    """Ends what is owed on a channel."""

    def run_once(self) -> Awaitable[object]:
        """End what is owed there now."""


class Unserved:
    """``run_once`` settles what no dispatcher serves; ``make`` builds the dispatcher of such a channel.

    What another receiver on the store serves is left to it: a new channel comes to one after the other.
    An open incident keeps the places that were told of it, so that more may be owed there at any time.
    """

    def __init__(self, store: Store, served: Iterable[str], make: Callable[[str], Ending]) -> None:
        self._store, self._served, self._make = store, frozenset(served), make

    async def run_once(self) -> None:
        """End what is owed there now."""
        names = await self._store.channels_owed() - self._served
        if names:
            names -= await self._store.served_elsewhere()
        for name in sorted(names):
            await self._make(name).run_once()
