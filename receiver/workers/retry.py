"""Decides when a failed attempt is made again, and when a notification has been tried for long enough. Pure."""

import msgspec


class RetryPolicy(msgspec.Struct, frozen=True):
    """Seconds: the delay doubles from ``first`` to ``longest``.

    A notification is dead when its failed attempts have used up ``give_up``: each uses up the delay that follows it.
    Time in which nothing was tried uses up nothing. A page that has not arrived after ``elsewhere`` looks for another
    way, and is tried on.
    """

    first: float
    longest: float
    give_up: float
    elsewhere: float = 60.0


def backoff(attempt: int, policy: RetryPolicy, jitter: float, retry_after: float | None = None) -> float:
    """Seconds until the next attempt: doubled each time, up to a fifth less by ``jitter`` (0 to 1).

    The provider's own Retry-After is never undercut. The jitter keeps a fleet of notifications that failed
    together from coming back together.
    """
    delay = min(policy.first * 2.0 ** min(attempt - 1, 20), policy.longest) * (1 - 0.2 * jitter)
    return max(delay, retry_after or 0.0)
