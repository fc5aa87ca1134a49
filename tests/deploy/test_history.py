"""The simulated past: the same seed gives the same, counters never fall, and no name that the rules read is missing."""

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from deploy.simulation import rule_results
from deploy.simulation.application import Application, up
from deploy.simulation.counters import Counters
from deploy.simulation.machines import TARGETS, Machines
from deploy.simulation.monitoring import Watchers
from deploy.simulation.time_axis import Axis, incidents

END = 1_795_564_800
# What Prometheus makes of alerts, and what hosts without ZFS do not have.
ABSENT = {"ALERTS", "ALERTS_FOR_STATE", "node_zfs_arc_size", "node_zfs_arc_c_min"}


def shown(axis: Axis) -> dict[str, list[float]]:
    counters = Counters()
    values_of: dict[str, list[float]] = {}
    for part in (
        Application(counters).shown(axis),
        Machines(counters).shown(axis),
        Watchers(counters).shown(axis),
        up(axis, TARGETS),
    ):
        for identity, values in part:
            assert identity not in values_of, f"{identity} is written twice"
            values_of[identity] = list(values)
    return values_of


def an_axis(seed: int = 1) -> Axis:
    start = END - 86_400
    return Axis(seed, start, 900, 96, incidents(seed, start - 86_400, END))


def test_a_seed_gives_the_same_past_and_another_another() -> None:
    one, again, other = (shown(an_axis(seed)) for seed in (1, 1, 2))
    assert one == again
    listed = "receiver_open_incident_opened_timestamp_seconds"  # each incident has series of its own
    assert {key for key in one if listed not in key} == {key for key in other if listed not in key}
    assert one != other


def test_counters_never_fall_and_buckets_hold_each_other() -> None:
    values_of = shown(an_axis())
    for identity, values in values_of.items():
        name = identity.partition("{")[0]
        if name.endswith(("_total", "_bucket", "_count", "_sum")) and name != "pg_stat_activity_count":
            assert all(a <= b for a, b in pairwise(values)), identity
    bounds = [(float(le), key) for key in values_of for le in re.findall(r'[{,]le="([^"]+)"', key)]
    for (_, small), (_, large) in pairwise(sorted((b, k) for b, k in bounds if k.startswith("db_query_duration"))):
        if _without_bound(small) == _without_bound(large):
            assert all(a <= b for a, b in zip(values_of[small], values_of[large], strict=True))


def test_a_counter_goes_on_where_the_stretch_before_left_it() -> None:
    counters = Counters()
    assert counters.counter("a_total", {}, [1.5, 1.5])[1] == [1.0, 3.0]
    assert counters.counter("a_total", {}, [2.0, 0.0])[1] == [5.0, 5.0]


def test_every_family_of_the_catalogue_and_every_name_in_the_rules_is_there() -> None:
    names = {identity.partition("{")[0] for identity in shown(an_axis())}
    for path in Path("exporter/catalogue").glob("*.yml"):
        for family in yaml.safe_load(path.read_text("utf-8"))["families"]:
            assert names & {family["name"], f"{family['name']}_count"}, family["name"]
    levels, alerts = rule_results.read()
    recorded = {rule.name for level in levels for rule in level}
    for rule in (*alerts, *(rule for level in levels for rule in level)):
        missing = set(_read(promql_parser.parse(rule.expr))) - names - recorded - ABSENT
        assert not missing, f"{rule.name} reads {missing}, which no module of deploy/simulation writes"


def _without_bound(identity: str) -> str:
    return re.sub(r'[{,]le="[^"]+"', "", identity)


def _read(expression: Any) -> Iterator[str]:  # noqa: ANN401  # any node of the parser's tree
    if isinstance(expression, promql_parser.VectorSelector):
        yield str(expression.name)
    parts = [getattr(expression, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector")]
    for part in (*parts, *(getattr(expression, "args", None) or ())):
        if part is not None:
            yield from _read(part)


def test_recording_rules_come_after_those_that_they_read() -> None:
    levels, _ = rule_results.read()
    done: set[str] = set()
    everything = {rule.name for level in levels for rule in level}
    for level in levels:
        for rule in level:
            assert not (set(re.findall(r"[\w:]+", rule.expr)) & everything) - done - {rule.name}
        done |= {rule.name for rule in level}
    assert done == everything


def test_alerts_wait_and_are_kept() -> None:
    stretch = rule_results.Stretch(0, 3_000, 60)
    times = [*range(0, 660, 60), *range(1_200, 1_320, 60)]
    waits = list(rule_results._states(times, stretch, rule_results.Rule("A", "a > 1", {}, wait=300)))  # noqa: SLF001  # the heart of it
    assert waits == [("pending", 0, 0, 300), ("firing", 0, 300, 660), ("pending", 1_200, 1_200, 1_320)]
    kept = list(rule_results._states(times, stretch, rule_results.Rule("A", "a > 1", {}, keep=900)))  # noqa: SLF001  # as above
    assert kept == [("firing", 0, 0, 1_320 + 900)]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "deploy.simulation.history", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "letter.txt").exists()
