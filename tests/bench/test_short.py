"""Every benchmark still runs: its short form ends well. No figure is judged, for machines are shared and slow."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

BENCHMARKS = [
    *re.findall(r"^BENCHMARKS := (.+)$", Path("Makefile").read_text("utf-8"), re.MULTILINE)[0].split(),
    "soak",
]
BESIDE = 3  # they wait more than they compute

Done = subprocess.CompletedProcess[str]


def test_each_script_that_takes_the_short_form_is_run_here() -> None:
    scripts = {
        path.stem for path in Path("bench").glob("*.py") if "from bench.options import" in path.read_text("utf-8")
    }
    assert scripts == {*BENCHMARKS}


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, "Future[Done]"]]:
    """Run all beside each other."""
    with ThreadPoolExecutor(BESIDE) as executor:
        yield {name: executor.submit(run, name) for name in BENCHMARKS}


def run(name: str) -> Done:
    command = [sys.executable, "-m", f"bench.{name}", "--short"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.stack
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_runs(name: str, running: dict[str, "Future[Done]"]) -> None:
    done = running[name].result()
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"\d", done.stdout), "it printed no figure"
