"""How long each program takes until it is ready, from the start of its process: Python, imports, files and database."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from bench.figures import note
from bench.load import ROOT
from bench.options import is_short
from deploy.local.installation import DEFAULTS, Site, prepare
from deploy.local.ports import free_port

PATIENCE = 60.0


class Start(NamedTuple):
    """Seconds on the clock, and seconds of CPU, which other programs on the machine do not lengthen."""

    clock: float
    cpu: float


def until_ready(site: Site, name: str) -> Start:
    """Start a program, measure until it says that it is ready, and stop it."""
    began = time.perf_counter()
    command = [sys.executable, "-m", name, f"--config.file={site.data / f'{name}.yml'}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() < began + PATIENCE:
            try:
                with urllib.request.urlopen(f"{site.url(name)}/-/ready", timeout=5):
                    return Start(time.perf_counter() - began, _cpu(process.pid))
            except urllib.error.URLError:
                time.sleep(0.005)
        raise SystemExit(f"{name} was not ready after {PATIENCE:.0f} s")
    finally:
        process.terminate()
        process.wait()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(times: int) -> None:
    """Print the median of each program: of the first start, which makes its files, and of later ones."""
    for name in ("exporter", "receiver"):
        with tempfile.TemporaryDirectory() as folder:
            site = Site(Path(folder), {one: free_port() for one in DEFAULTS})
            prepare(site)
            first = until_ready(site, name)
            later = [until_ready(site, name) for _ in range(times)]
        clock, cpu = (statistics.median(one[n] for one in later) for n in (0, 1))
        note(f"{name}, from its start to ready", clock, "s")
        print(f"{name}: ready after {clock:.2f} s, {cpu:.2f} s of CPU (median of {times}); first {first.clock:.2f} s")


if __name__ == "__main__":
    main(1 if is_short(__doc__) else 5)
