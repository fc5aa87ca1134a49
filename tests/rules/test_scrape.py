"""rules/tables/exporters/: what a fresh scrape of the real programs says of the metrics that the rules read."""

from pathlib import Path

import pytest

from deploy.local.servers import PLACE as SERVERS
from rules.exported import Family, Generation, Job, families, read, written
from rules.lint import source
from rules.lint.expression import name_of, selectors
from rules.scrape import main
from tests.rules.programs import write
from tests.stories.stack import ROOT

SUITE = ROOT / ".stack/suite"
GENERATION = SUITE.read_text("utf-8").strip() if SUITE.exists() else ""
SERIES = [
    {"__name__": "a_total", "job": "x", "instance": "i", "code": "1"},
    {"__name__": "a_total", "job": "x", "instance": "i", "code": "1", "more": "m"},
    {"__name__": "b_seconds_bucket", "job": "x", "instance": "i", "le": "0.5"},
    {"__name__": "b_seconds_bucket", "job": "x", "instance": "i", "le": "10.0"},
    {"__name__": "b_seconds_bucket", "job": "x", "instance": "i", "le": "+Inf"},
    {"__name__": "b_seconds_count", "job": "x", "instance": "i"},
    {"__name__": "c_count", "job": "x", "instance": "i", "state": "idle"},
    {"__name__": "up", "job": "x", "instance": "i"},
    {"__name__": "job:recorded:sum", "job": "x"},
]
FAMILIES = {
    "a_total": Family("counter", ("code",), ("more",)),
    "b_seconds": Family("histogram", buckets=(0.5, 10)),
    "c_count": Family("gauge", ("state",)),
}


def test_series_are_told_as_families() -> None:
    """Prometheus has the type of `a_total` as `a` where the program speaks OpenMetrics."""
    assert families(SERIES, {"a": "counter", "b_seconds": "histogram", "c_count": "gauge"}) == FAMILIES


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    one = Generation("x", {"x": Job("1.0", FAMILIES)})
    (tmp_path / "x.yml").write_text(written(one), "utf-8")
    assert read(tmp_path) == [one]
    assert "      a_total: {type: counter, labels: [code], some: [more]}\n" in written(one)


@pytest.mark.parametrize("text", ["generation: [", "generation: x\njobs: {a: {families: {}}}\n", "jobs: {}\n"])
def test_a_broken_table_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"x\.yml: .*; run `make scrape`"):
        read(tmp_path)


def test_no_prometheus_is_one_message(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--prometheus.url", "http://127.0.0.1:9", "--generation", "x", "--output.dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("http://127.0.0.1:9: cannot read its targets: ")
    assert said.count("\n") == 1


def used() -> dict[str, set[str]]:
    """The metrics that the rules read, with the labels that they ask for."""
    labels: dict[str, set[str]] = {}
    for path in sorted(Path("rules").glob("*.yml")):
        for rule in source.read(path).rules:
            for selector, _ in selectors(rule.tree):
                asked = {matcher.name for matcher in selector.matchers.matchers}
                labels.setdefault(name_of(selector), set()).update(asked - {"job", "instance", "le"})
    return labels


def of(name: str, generation: Generation) -> Family | None:
    every = {family: what for job in generation.jobs.values() for family, what in job.families.items()}
    bare = next((name.removesuffix(s) for s in ("_bucket", "_sum", "_count") if name.endswith(s)), name)
    return every.get(name) or every.get(bare)


@pytest.mark.stack
@pytest.mark.story
@pytest.mark.skipif(not SERVERS.exists(), reason="no PostgreSQL, Redis and nginx: see `make servers`")
async def test_the_committed_file_is_what_the_real_programs_export(tmp_path: Path) -> None:
    committed = next((one for one in read() if one.generation == GENERATION), None)
    if committed is None:
        pytest.skip(f"no file of the generation {GENERATION}: `make scrape` writes one")
    assert await write(GENERATION, tmp_path) == 0
    fresh = read(tmp_path)[0]
    assert {job: what.version for job, what in fresh.jobs.items()} == {j: w.version for j, w in committed.jobs.items()}
    compared = 0
    for name, asked in used().items():
        now, then = of(name, fresh), of(name, committed)
        if now is None and then is None:
            continue  # recorded, or of the catalogue and the receiver's code
        assert now is not None, f"{name}: nobody exports it any more: `make scrape`, then mend the rules"
        assert then is not None, f"{name}: it is new: `make scrape`"
        assert (now.type, now.labels) == (then.type, then.labels), f"{name}: `make scrape`"
        assert asked <= {*now.labels, *now.some}, f"{name} has no label {asked - {*now.labels, *now.some}}"
        compared += 1
    assert compared > 40
