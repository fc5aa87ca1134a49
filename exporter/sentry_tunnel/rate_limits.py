"""Remembers which kinds of data Sentry has said it will not take for now, and for how long.

develop.sentry.dev/sdk/foundations/transport/rate-limiting/
"""

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from math import ceil

TOO_MANY = 429
_ALL = ""
_DEFAULT = 60.0  # seconds: "SDKs should assume 60 if there is no header"
_LONGEST = 86_400.0  # seconds: a wrong header must not silence error reports for ever
# All that there are (sentry-javascript, packages/core/src/types/datacategory.ts, and Relay's metric_bucket): what is
# remembered is bounded by them and by the number of DSNs, whatever a header says.
_CATEGORIES = frozenset(
    {
        *("default", "error", "transaction", "replay", "security", "attachment", "session", "internal", "profile"),
        *("monitor", "feedback", "span", "log_item", "log_byte", "trace_metric", "metric_bucket"),
    }
)


class Backoff:
    """Deadlines by DSN and data category; times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def learn(self, dsn: str, status: int, headers: Mapping[str, str], now: float) -> None:
        """Take the limits of an answer; one with status 200 may have some, too."""
        limits = headers.get("X-Sentry-Rate-Limits", "")
        if limits:
            for limit in limits.split(","):
                self._limit(dsn, limit.strip(), now)
        elif "Retry-After" in headers:
            self._hold(dsn, _ALL, retry_after(headers), now)
        elif status == TOO_MANY:
            self._hold(dsn, _ALL, _DEFAULT, now)

    def remaining(self, dsn: str, category: str, now: float) -> float:
        """Say for how many seconds a category is still refused; 0 if it is not."""
        until = max(self._until.get((dsn, _ALL), 0.0), self._until.get((dsn, category), 0.0))
        return max(until - now, 0.0)

    def header(self, dsn: str, categories: Iterable[str], now: float) -> str:
        """Say it to an SDK as Sentry would, so that it stops to send these."""
        if self.remaining(dsn, _ALL, now):
            return f"{ceil(self.remaining(dsn, _ALL, now))}::organization"
        known = sorted(_CATEGORIES & set(categories))
        return ", ".join(f"{ceil(self.remaining(dsn, name, now))}:{name}:organization" for name in known)

    def _limit(self, dsn: str, limit: str, now: float) -> None:
        """Read ``retry_after:categories:scope:reason:namespaces``; what is left out at the end is empty."""
        seconds, categories, _scope, _reason, namespaces = (*limit.split(":"), "", "", "", "")[:5]
        wait = _seconds(seconds)
        if not categories:
            self._hold(dsn, _ALL, wait, now)
        custom = not namespaces or "custom" in namespaces.split(";")
        for category in _CATEGORIES.intersection(categories.split(";")):
            if category != "metric_bucket" or custom:
                self._hold(dsn, category, wait, now)

    def _hold(self, dsn: str, category: str, wait: float, now: float) -> None:
        key = (dsn, category)
        self._until[key] = max(self._until.get(key, 0.0), now + min(wait, _LONGEST))


def retry_after(headers: Mapping[str, str]) -> float:
    """Read Retry-After, which is seconds or a date; the date is held against the answer's own, not our clock."""
    value = headers.get("Retry-After", "")
    if value.strip().isdecimal() and value.isascii():
        return _seconds(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return _DEFAULT
    return max(wait.total_seconds(), 0.0)


def _seconds(text: str) -> float:
    """Read seconds; what cannot be read is the default, and so is what is too long to be meant."""
    try:
        found = float(text)
    except ValueError:
        return _DEFAULT
    return found if 0 <= found < float("inf") else _DEFAULT
