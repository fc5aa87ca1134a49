"""Remembers which data categories Sentry refuses for now, and for how long.

develop.sentry.dev/sdk/foundations/transport/rate-limiting/
"""

from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from math import ceil

TOO_MANY_REQUESTS = 429
_ALL = ""
_DEFAULT = 60.0  # seconds: "SDKs should assume 60 if there is no header"
_MAX_WAIT = 86_400.0  # seconds: a wrong header must not stop error reports for ever
# All categories (sentry-javascript, packages/core/src/types/datacategory.ts, and Relay's metric_bucket). They and the
# number of DSNs bound what is remembered, whatever a header says.
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
        """Note the limits of an answer; one with status 200 may have some as well."""
        limits = headers.get("X-Sentry-Rate-Limits", "")
        if limits:
            for limit in limits.split(","):
                self._limit(dsn, limit.strip(), now)
        elif "Retry-After" in headers:
            self._refuse(dsn, _ALL, retry_after(headers), now)
        elif status == TOO_MANY_REQUESTS:
            self._refuse(dsn, _ALL, _DEFAULT, now)

    def remaining(self, dsn: str, category: str, now: float) -> float:
        """Return for how many seconds a category is still refused; 0 if it is not."""
        until = max(self._until.get((dsn, _ALL), 0.0), self._until.get((dsn, category), 0.0))
        return max(until - now, 0.0)

    def header(self, dsn: str, categories: Iterable[str], now: float) -> str:
        """Return the header that tells an SDK, as Sentry would, to stop sending these."""
        if self.remaining(dsn, _ALL, now):
            return f"{ceil(self.remaining(dsn, _ALL, now))}::organization"
        known = sorted(_CATEGORIES & set(categories))
        return ", ".join(f"{ceil(self.remaining(dsn, name, now))}:{name}:organization" for name in known)

    def _limit(self, dsn: str, limit: str, now: float) -> None:
        """Parse ``retry_after:categories:scope:reason:namespaces``; fields missing at the end are empty."""
        seconds, categories, _scope, _reason, namespaces = (*limit.split(":"), "", "", "", "")[:5]
        wait = _seconds(seconds)
        if not categories:
            self._refuse(dsn, _ALL, wait, now)
        custom = not namespaces or "custom" in namespaces.split(";")
        for category in _CATEGORIES.intersection(categories.split(";")):
            if category != "metric_bucket" or custom:
                self._refuse(dsn, category, wait, now)

    def _refuse(self, dsn: str, category: str, wait: float, now: float) -> None:
        key = (dsn, category)
        self._until[key] = max(self._until.get(key, 0.0), now + min(wait, _MAX_WAIT))


def retry_after(headers: Mapping[str, str]) -> float:
    """Parse Retry-After, seconds or a date; a date is compared with the answer's own Date, not with our clock."""
    value = headers.get("Retry-After", "")
    if value.strip().isdecimal() and value.isascii():
        return _seconds(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError):
        return _DEFAULT
    return max(wait.total_seconds(), 0.0)


def _seconds(text: str) -> float:
    """Parse seconds; the default if they are not a finite number from 0 up."""
    try:
        wait = float(text)
    except ValueError:
        return _DEFAULT
    return wait if 0 <= wait < float("inf") else _DEFAULT
