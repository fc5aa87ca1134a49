"""Keeps messages to one address apart, as a provider asks, and says how long a message would have to wait."""

import asyncio

from receiver.channels.base import DeferredError

PATIENCE = 1.0  # seconds that a message waits for its turn in a channel; longer is the dispatcher's business


class Pace:
    """One message every ``interval`` seconds for each address, after a ``burst`` that goes at once."""

    def __init__(self, interval: float, burst: int) -> None:
        self._interval, self._burst = interval, burst
        self._booked: dict[str, float] = {}  # address -> when its last message would go without a burst

    def wait(self, address: str, now: float) -> float:
        """Give the seconds until a message may go there."""
        booked = self._booked.get(address, now)
        return max(0.0, booked - (self._burst - 1) * self._interval - now)

    def book(self, address: str, now: float) -> None:
        """Note that a message goes as soon as it may."""
        self._booked[address] = max(self._booked.get(address, now), now) + self._interval

    async def turn(self, address: str, patience: float, *, urgent: bool) -> None:
        """Wait for a turn; DeferredError if it is further away than ``patience``. What is urgent waits for nobody."""
        now = asyncio.get_running_loop().time()
        wait = self.wait(address, now)
        if wait > patience and not urgent:
            raise DeferredError(wait)
        self.book(address, now)
        if not urgent:
            await asyncio.sleep(wait)
