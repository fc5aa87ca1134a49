"""Every benchmark still runs: its short form ends well. No figure is judged, for machines are shared and slow."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = re.findall(r"^BENCHMARKS := (.+)$", Path("Makefile").read_text("utf-8"), re.MULTILINE)[0].split()


def test_each_script_that_takes_the_short_form_is_run_here() -> None:
    scripts = {
        path.stem for path in Path("bench").glob("*.py") if "from bench.options import" in path.read_text("utf-8")
    }
    assert scripts == {*BENCHMARKS, "soak"}


@pytest.mark.stack
@pytest.mark.parametrize("name", [*BENCHMARKS, "soak"])
def test_a_benchmark_runs(name: str) -> None:
    command = [sys.executable, "-m", f"bench.{name}", "--short"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"\d", done.stdout), "it printed no figure"
