"""The comparison of two trees: what a figure is, how it is named, and which tree is run when."""

from pathlib import Path

import pytest

from bench.compare import Figure, compared, figures, interval, pairs, run

PRINTED = """
at 200/s, new incidents: p50 12.2 ms   p90 45.5 ms
   1,000  ours       1.00
  10,000  ours      12.50
{"kilobytes": 100, "series": 1109}
"""


def test_the_numbers_of_a_line_are_its_figures_and_like_lines_are_told_apart() -> None:
    listed = figures(PRINTED)
    assert listed[Figure("at #/s, new incidents: p50 # ms p90 # ms", 0, 1)] == 12.2
    assert listed[Figure("# ours #", 0, 1)] == 1.0
    assert listed[Figure("# ours #", 1, 0)] == 10_000
    assert listed[Figure('{"kilobytes": #, "series": #}', 0, 0)] == 100
    assert len(listed) == 9


def test_a_fixed_number_is_text_and_the_ratio_is_of_the_pairs() -> None:
    base = [figures(f"at 200/s: {value} ms, {other} ms") for value, other in ((10, 1), (20, 0), (30, 1))]
    new = [figures(f"at 200/s: {value} ms, {other} ms") for value, other in ((5, 1), (10, 1), (15, 2))]
    first, second = compared(base, new)
    assert (first.line, first.base, first.new) == ("at 200/s: ~ ms, ~ ms", [10, 20, 30], [5, 10, 15])
    assert first.ratio == (0.5, 0.5, 0.5)
    assert (first.name, second.name) == ("/s: ~ ms", "ms, ~ ms")
    assert second.ratio is None  # the base has a zero


def test_a_figure_that_a_run_lacks_is_left_out() -> None:
    assert compared([figures("a 1"), figures("a 2")], [figures("a 3"), figures("b 4")]) == []


def test_the_interval_holds_the_median_and_is_the_same_every_time() -> None:
    values = [0.9, 1.0, 1.1, 1.2, 1.3]
    median, low, high = interval(values)
    assert (median, low >= 0.9, high <= 1.3, low < median < high) == (1.1, True, True, True)
    assert interval(values) == (median, low, high)


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """Two trees, the first of the time when benchmarks were scripts; each run is noted in one file."""
    for name, value in (("base", 4), ("new", 8)):
        folder = tmp_path / name / "bench"
        folder.mkdir(parents=True)
        note = f"open({str(tmp_path / 'order')!r}, 'a').write({name + ' '!r})"
        (folder / "one.py").write_text(f"{note}\nprint('took', {value}, 'ms')\n", "utf-8")
        (folder / "broken.py").write_text("raise ValueError\n", "utf-8")
    (tmp_path / "new/bench/__init__.py").write_text("", "utf-8")
    return tmp_path / "base", tmp_path / "new"


def test_both_trees_run_in_turn_and_each_its_own_benchmark(trees: tuple[Path, Path], tmp_path: Path) -> None:
    (took,) = pairs(*trees, "one", 3)
    assert (took.name, took.base, took.new) == ("took ~ ms", [4] * 3, [8] * 3)
    assert (tmp_path / "order").read_text("utf-8").split() == ["base", "new", "new", "base", "base", "new"]


def test_a_benchmark_that_fails_ends_the_comparison(trees: tuple[Path, Path]) -> None:
    with pytest.raises(SystemExit, match="broken fails in"):
        run(trees[0], "broken")
