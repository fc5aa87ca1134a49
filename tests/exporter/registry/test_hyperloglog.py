"""Who counts as a user of a window, and how exactly few and many are counted."""

import pytest

from exporter.catalogue.model import WINDOWS
from exporter.registry.hyperloglog import DistinctCount

DAY = 86_400
BEGIN = 20_000.0 * DAY  # of a slice of each length


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_ends_when_it_says(window: str) -> None:
    count = DistinctCount(b"key")
    count.add("anna", BEGIN)
    for passed, seen in ((0, 1), (WINDOWS[window] - 1, 1), (WINDOWS[window], 0)):
        assert count.counts(BEGIN + passed)[window] == seen


@pytest.mark.parametrize("number", [0, 1, 2, 10, 100, 1000, 8000, 50_000])
def test_few_are_counted_as_exactly_as_many(number: int) -> None:
    count = DistinctCount(b"key")
    for user in range(number):
        count.add(f"u-{user}", BEGIN)
    assert count.counts(BEGIN)["1h"] == pytest.approx(number, rel=0.05)
