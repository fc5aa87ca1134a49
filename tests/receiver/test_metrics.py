"""The receiver's metrics about itself: what can be known stands at 0 before it first happens."""

from itertools import product

from receiver.metrics import Metrics

TEAMS = ("default", "backend")


def test_each_team_has_its_answers_and_breaches_at_0_so_that_the_first_is_an_increase() -> None:
    registry = Metrics(["email"], TEAMS).registry
    for priority, team in product(("P1", "P2", "P3", "P4"), TEAMS):
        labels = {"priority": priority, "team": team}
        for sample in (
            "receiver_time_to_acknowledge_seconds_count",
            "receiver_time_to_resolve_seconds_sum",
            "receiver_response_time_breaches_total",
        ):
            assert registry.get_sample_value(sample, labels) == 0, (sample, labels)
