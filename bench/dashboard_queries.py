"""How long each dashboard's whole set of queries takes over 24 hours, on a Prometheus with a simulated history.

A dashboard must answer in under a second. The requests are sent as a browser sends them, six at a time, with the steps
that Grafana uses at 1600 pixels; each dashboard is queried five times and the fastest run counts, since the first reads
from disk. Elapsed time includes whatever else the machine does; the CPU seconds of Prometheus are what one idle core
would need. The smaller of the two must stay below the limit.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.load import ROOT
from bench.options import parser
from deploy.local.ports import free_port
from grafana.lint.board import Document
from grafana.lint.run import DASHBOARDS
from grafana.queries.plan import Window, requests
from grafana.queries.prometheus import Answer
from grafana.queries.run import asked, load

DAY, LIMIT = 86_400, 1.0


def main() -> int:
    known = parser(__doc__)
    known.add_argument("--history", type=Path, help="filled by deploy.simulation.history; made otherwise")
    known.add_argument("files", nargs="*", type=Path, help="dashboards; all by default")
    options = known.parse_args()
    documents = load(options.files or sorted(DASHBOARDS.glob("*.json")))
    with contextlib.ExitStack() as stack:
        folder = options.history or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.short:
            made_empty(folder)
        elif options.history is None:
            words = [sys.executable, "-m", "deploy.simulation.history", folder, "--days", "8"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        end = json.loads((folder / "history.json").read_text("utf-8"))["until"]
        url = stack.enter_context(prometheus(folder))
        times, window = 1 if options.short else 5, Window(end - DAY, end)
        slow = [one.board.uid for one in documents if not measured(url, one, window, times)]
    print(f"{len(documents) - len(slow)} of {len(documents)} dashboards answer in under {LIMIT:g} s")
    return 1 if slow and not options.short else 0


def made_empty(folder: Path) -> None:
    """Mark an empty folder as a history that ends now: the short form needs answers, not data."""
    (folder / "history.json").write_text(json.dumps({"until": int(time.time())}), "utf-8")


def measured(url: str, document: Document, window: Window, times: int) -> bool:
    """Print the figures of a dashboard; say whether it is fast enough."""
    wanted = list(requests(document, window))
    runs: list[tuple[float, float, list[Answer]]] = []
    for _ in range(times):
        busy, began = cpu(url), time.perf_counter()
        answers = asyncio.run(asked(url, wanted, window))
        runs.append((time.perf_counter() - began, cpu(url) - busy, answers))
    whole, work, answers = min(runs, key=lambda one: one[0])
    assert not [one.error for one in answers if one.error]
    worst = sorted(answers, key=lambda one: one.seconds, reverse=True)
    print(
        f"{document.board.uid:<22}{len(wanted):>4} queries {whole:>6.2f} s  (CPU of Prometheus {work:.2f} s), slowest:"
    )
    for one in worst[:3]:
        print(f"{'':<22}{one.seconds * 1000:>8.0f} ms  {one.request}")
    return min(whole, work) < LIMIT


def cpu(url: str) -> float:
    """Give the CPU seconds that this Prometheus has used; they depend less on other load than the clock does."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds_total"))


@contextlib.contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """Start a Prometheus without rules on a data folder."""
    port = free_port()
    config = folder / "queries-only.yml"
    config.write_text("{}\n", "utf-8")
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder}", "--storage.tsdb.retention.time=10y"]
    words += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen([ROOT / ".stack/bin/prometheus", *words], stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            ready(url)
            yield url
        finally:
            process.terminate()


def ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready"):
            return
        time.sleep(0.1)
    raise SystemExit(f"Prometheus did not start at {url} within a minute")


if __name__ == "__main__":
    raise SystemExit(main())
