"""The clock of the database is read over a network, and goes on between two looks."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from receiver.store.postgres.clock import DatabaseClock
from receiver.store.sql.connection import Connection
from receiver.workers.clock_watch import STEP

pytestmark = pytest.mark.postgres("it is about its clock")

START = datetime(2026, 11, 26, tzinfo=UTC)


class Server:
    """A database whose answers take their time on the way back."""

    def __init__(self) -> None:
        self.passed, self.way_back, self.set_by = 100.0, 0.0, 0.0

    def elapsed(self) -> float:
        return self.passed

    def execute(self, _sql: str, _parameters: object = (), /) -> "Server":
        self._now = self.passed + self.set_by
        self.passed += self.way_back
        return self

    def fetchone(self) -> tuple[float]:
        return (START.timestamp() + self._now,)


@pytest.fixture
def server() -> Server:
    return Server()


def test_an_answer_that_was_long_on_its_way_sets_no_clock(server: Server) -> None:
    clock = DatabaseClock(lambda: START, server.elapsed)
    clock.look(cast("Connection", server))
    server.way_back = 3 * STEP.total_seconds()
    clock.look(cast("Connection", server))
    assert clock() == START + timedelta(seconds=server.passed)
    server.way_back = 0.1
    clock.look(cast("Connection", server))
    assert abs(clock() - START - timedelta(seconds=server.passed)) < STEP
    server.set_by = 3600.0
    clock.look(cast("Connection", server))
    assert clock() - START > timedelta(hours=1)


def test_the_first_answer_counts_however_long_it_took(server: Server) -> None:
    server.way_back = 4.0
    clock = DatabaseClock(lambda: START + timedelta(days=9), server.elapsed)
    clock.look(cast("Connection", server))
    assert clock() == START + timedelta(seconds=server.passed - 2.0)
