"""The model of a storm agrees with what can be reckoned by hand, and docs/scaling.md has what it prints."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.queue_model import (
    ANSWER,
    LEASE,
    PAGE,
    PER_MINUTE,
    STORMS,
    URGENT,
    WEBHOOK,
    Model,
    Storm,
    limit,
    share,
    table,
)

DOCS = Path("docs/scaling.md")
CROWD = Storm("a crowd", 6_000, 1, 600)  # more than one receiver takes in that second


def test_every_incident_is_told_and_a_seed_gives_the_same() -> None:
    for storm in (CROWD, replace(CROWD, receivers=3, killed_every=2), replace(CROWD, teams=2)):
        outcome, again = Model(storm).run(), Model(storm).run()
        assert outcome.told == storm.incidents == len(outcome.taken)
        assert (outcome.urgent, outcome.messages) == (again.urgent, again.messages)
    assert Model(replace(CROWD, seed=1)).run().urgent != Model(CROWD).run().urgent


def test_a_crowd_takes_as_long_as_its_work_and_several_receivers_share_it() -> None:
    alone = Model(CROWD).run()
    work = CROWD.incidents * (WEBHOOK + URGENT * PAGE)  # pages of P1 go first
    assert alone.last_taken == pytest.approx(work, rel=0.05)
    assert Model(replace(CROWD, receivers=3)).run().last_taken == pytest.approx(work / 3, rel=0.1)
    assert limit(CROWD, alone) == "the receivers"


def test_a_slow_database_keeps_several_receivers_as_slow_as_itself() -> None:
    storm = replace(CROWD, receivers=3, changes=1_000)
    outcome = Model(storm).run()
    assert outcome.last_taken == pytest.approx(CROWD.incidents * (1 + 2 * URGENT) / 1_000, rel=0.05)
    assert limit(storm, outcome) == "the database"


def test_a_provider_gives_one_key_so_many_a_minute() -> None:
    outcome = Model(Storm("one team", 2_000, 1, 1)).run()
    urgent = len(outcome.urgent)
    assert max(outcome.urgent) == pytest.approx(60 * ((urgent + 20) // PER_MINUTE), abs=62)
    assert share(outcome.urgent, 0.1) == pytest.approx(ANSWER, abs=1)


def test_a_killed_receiver_delays_by_its_lease() -> None:
    calm, killed = Model(CROWD).run(), Model(replace(CROWD, receivers=3, killed_every=2)).run()
    assert (calm.repeats, killed.repeats > 0) == (0, True)
    assert LEASE < max(killed.urgent) < 2 * LEASE + 5


def lines(storms: tuple[Storm, ...]) -> list[str]:
    return list(table(storms))


def test_the_docs_have_its_table() -> None:
    text = DOCS.read_text("utf-8")
    for line in lines(tuple(storm for storm in STORMS if storm.incidents < 1_000)):
        assert line in text, line
    assert all(f"| {storm.name} |" in text for storm in STORMS)


@pytest.mark.slow
def test_the_docs_have_all_of_its_table() -> None:
    assert "\n".join(lines(STORMS)) in DOCS.read_text("utf-8")
