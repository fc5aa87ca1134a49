"""What benchmarks note, and the page that is written of it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.figures import note, note_pairs
from bench.results import Ran, document, run


def test_figures_ratios_and_stalls_stand_on_the_page_with_their_goals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_FIGURES", str(tmp_path / "figures"))
    note("fan-out", 2.6, "CPU s", at_most=2.5)
    assert note_pairs("webhooks", "/s", [100, 300, 200], [1, 2, 1], "Other", at_least=80) == 150
    assert note_pairs("page", "ms", [5.0], [10.0], "Other", less_is_better=True) == 2
    notes = [json.loads(line) for line in (tmp_path / "figures").read_text("utf-8").splitlines()]
    stalls = [{"program": "receiver", "turns": 9, "late": [21.0, 40.0], "own": [4.0, 9.0], "computing": [1.0, 2.0]}]
    ran = Ran("one", "About.", "printed 1", notes, stalls, 60, ended_well=True)
    page = document([ran], datetime(2026, 11, 26, tzinfo=UTC), "0")
    assert "| fan-out | 2.6 CPU s | ≤ 2.5 | **no** |" in page
    assert "| webhooks, next to Other | 200 /s | 1 /s | 150 | 100 to 200 | 3 | ≥ 80 yes |" in page
    assert "| page, next to Other | 5 ms | 10 ms | 2 | 2 to 2 | 1 |   |" in page
    assert "| one, receiver | 21 | 40 | 4 | 9 | 1 | 2 |" in page
    assert "met in all: **no**; without others: yes." in page
    assert "```text\nprinted 1\n```" in page


def test_without_a_file_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_FIGURES", raising=False)
    note("a", 1, "s")


def test_a_benchmark_that_fails_is_named() -> None:
    ran = run("envelope_scan", ["--no-such-option"])
    assert not ran.ended_well
    assert "- envelope_scan failed" in document([ran], datetime(2026, 11, 26, tzinfo=UTC), "0")
