"""The clock of the database, so that receivers whose own clocks differ agree on what is due and whose lease is over."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from receiver.store.sql.connection import Connection

PERIOD = 1.0  # seconds between two looks
# Seconds of a look; what it is off by, at most half of that, must not look as if somebody had set the clock.
_SLOW = 1.0
_QUERY = "SELECT extract(epoch FROM clock_timestamp())::float8"


class DatabaseClock:
    """Gives the database's time, carried on by this machine's clock that nobody sets; our own until the first look."""

    def __init__(self, own: Callable[[], datetime], elapsed: Callable[[], float]) -> None:
        self._own, self._elapsed = own, elapsed
        self._at: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Give the time of now."""
        if self._at is None:
            return self._own()
        wall, passed = self._at
        return wall + timedelta(seconds=self._elapsed() - passed)

    def look(self, db: Connection) -> None:
        """Ask the database: it answered in the middle between our question and its answer, if that was not long."""
        asked = self._elapsed()
        seconds = float(db.execute(_QUERY).fetchone()[0])
        answered = self._elapsed()
        if self._at is None or answered - asked < _SLOW:
            self._at = (datetime.fromtimestamp(seconds, UTC), (asked + answered) / 2)
