"""Pauses a channel after several failures in a row, then lets one message try it. Pure.

A channel that is down would otherwise hold every slot for its whole timeout, P1s included, while other ways to the
same people work.
"""

from datetime import datetime, timedelta

THRESHOLD = 5  # failures in a row
REST = timedelta(seconds=20)


class CircuitBreaker:
    """The memory of one channel; ``open`` means that nothing is sent."""

    def __init__(self, threshold: int = THRESHOLD, rest: timedelta = REST) -> None:
        self._threshold, self._rest = threshold, rest
        self._failures = 0
        self._until: datetime | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Say whether the channel is held to be down."""
        return self._until is not None

    def wait(self, now: datetime) -> float:
        """Give the seconds until it is worth a try; 0 for now. Whoever is given 0 must say what became of it."""
        if self._until is None:
            return 0.0
        if now < self._until:
            return min((self._until - now).total_seconds(), self._rest.total_seconds())  # a clock set back
        if self._trying:
            return 1.0
        self._trying = True
        return 0.0

    def succeeded(self) -> None:
        """The channel works."""
        self._failures, self._until, self._trying = 0, None, False

    def failed(self, now: datetime) -> None:
        """The channel itself failed; a message that it refuses does not count."""
        self._failures += 1
        self._trying = False
        if self._failures >= self._threshold:
            self._until = now + self._rest

    def refused(self) -> None:
        """The channel answered, and did not want this message: it works."""
        self.succeeded()
