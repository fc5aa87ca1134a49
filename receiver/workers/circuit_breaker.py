"""Pauses what failed several times in a row, then lets one message try it. Pure; seconds of a monotonic clock.

An address or a host that is down would otherwise hold every slot for its whole timeout, P1s included, while other
ways to the same people work.
"""

THRESHOLD = 5  # failures in a row
REST = 20.0  # seconds


class CircuitBreaker:
    """The memory of one address or host; ``open`` means that nothing is sent there."""

    def __init__(self, threshold: int = THRESHOLD, rest: float = REST) -> None:
        self._threshold, self._rest = threshold, rest
        self._until: float | None = None
        self._trying = False
        self.failures = 0  # in a row

    @property
    def is_open(self) -> bool:
        """Say whether it is held to be down."""
        return self._until is not None

    def ready(self, now: float) -> bool:
        """Say whether something may be sent: while it is open one message after each rest, to try it."""
        return self._until is None or (now >= self._until and not self._trying)

    def begin(self) -> None:
        """Something is being sent; what becomes of it must be said by one of the three below."""
        self._trying = self.is_open

    def succeeded(self) -> bool:
        """It answered, whatever it thinks of the message; True if it had been held to be down."""
        closed = self.is_open
        self.failures, self._until, self._trying = 0, None, False
        return closed

    def failed(self, now: float) -> None:
        """It failed, whatever the message."""
        self.failures += 1
        self._trying = False
        if self.failures >= self._threshold:
            self._until = now + self._rest

    def untried(self) -> None:
        """Nothing was sent after all."""
        self._trying = False
