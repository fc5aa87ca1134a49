"""Long-term stores: their parts of prometheus.yml are valid, and rules that look back a month read the same there."""

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from deploy.local.ports import free_port
from deploy.simulation.blocks import LENGTHS, Blocks
from grafana.queries.compare import main
from tests.deploy.installed import ROOT
from tests.stories.victoria import FOLDER, SKIPPED, command, merged, there

pytestmark = pytest.mark.stack
BIN = ROOT / ".stack/bin"
STEP, END = 120, 1_795_564_800
EXTERNAL = {"cluster": "school", "env": "production"}
MONTH = re.compile(r"\[30d")
# What the rules of a month read, with values that change from one sample to the next.
APP = 'http_requests_total{instance="localhost:3001",job="heypeter-app",method="GET",route="/",status="200"}'
SERIES: dict[str, Callable[[int], float]] = {
    'probe_success{instance="https://school",job="blackbox-http"}': lambda n: float(n % 97 != 0),
    'slo:bad_events:rate5m{slo="http-availability",team="backend"}': lambda n: 0.001 * (n % 7),
    'slo:events:rate5m{slo="http-availability",team="backend"}': lambda n: 5.0 + n % 11,
    'slo:objective:ratio{slo="http-availability",team="backend"}': lambda _: 0.995,
    'job:http_requests_while_used:increase1h{job="heypeter-app"}': lambda n: 900.0 + n % 13,
    'heypeter:benchmark:value{benchmark="uptime",unit="ratio"}': lambda _: 0.9896,
    APP: lambda _: 5_000.0,  # no requests any more: ApplicationDown
    'up{instance="localhost:3001",job="heypeter-app"}': lambda _: 1.0,
}


@pytest.mark.parametrize("name", ["victoria-metrics", "mimir", "thanos"])
def test_a_pair_is_configured_as_prometheus_and_alertmanager_need_it(tmp_path: Path, name: str) -> None:
    config = yaml.safe_load((ROOT / "deploy/config/prometheus.yml").read_text("utf-8"))
    whole = merged(config, yaml.safe_load((ROOT / f"deploy/long-term/{name}.yml").read_text("utf-8")))
    assert whole["global"]["external_labels"]["env"] == "production"  # inhibitions need it
    whole["rule_files"] = [str(ROOT / "rules/*.yml")]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(whole), "utf-8")
    words = [str(BIN / "promtool"), "check", "config", "--syntax-only", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # A label that tells the pair apart must not reach Alertmanager, which would take their alerts for two.
    dropped = {"regex": "replica", "action": "labeldrop"} in whole["alerting"].get("alert_relabel_configs", [])
    assert ("replica" in whole["global"]["external_labels"]) == dropped


@contextlib.contextmanager
def running(words: list[str], url: str) -> Iterator[str]:
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready"):
                    break
                assert process.poll() is None, words
                assert time.monotonic() < deadline, words
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


@contextlib.contextmanager
def both(folder: Path) -> Iterator[tuple[str, str]]:
    """Start a Prometheus on the folder `prometheus`, and VictoriaMetrics with a copy of its data; give their URLs."""
    (folder / "none.yml").write_text("{}", "utf-8")
    ports = free_port(), free_port()
    ours, theirs = (f"http://127.0.0.1:{port}" for port in ports)
    prometheus = [str(BIN / "prometheus"), f"--config.file={folder / 'none.yml'}", "--log.level=error"]
    prometheus += [f"--storage.tsdb.path={folder / 'prometheus'}", "--storage.tsdb.retention.time=10y"]
    prometheus += [f"--web.listen-address=127.0.0.1:{ports[0]}"]
    with running(command(ports[1], folder / "victoria"), theirs):
        copying = [str(FOLDER / "vmctl"), "prometheus", "-s", "--disable-progress-bar", f"--vm-addr={theirs}"]
        copying += [f"--prom-snapshot={folder / 'prometheus'}"]
        copying += [f"--vm-extra-label={name}={value}" for name, value in EXTERNAL.items()]
        subprocess.run(copying, check=True, capture_output=True)
        urllib.request.urlopen(f"{theirs}/internal/force_flush").close()
        with running(prometheus, ours):
            yield ours, theirs


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("month")
    times = range(END - 31 * 86_400, END + 1, STEP)
    with Blocks(folder / "prometheus", LENGTHS[5], {}) as into:
        for identity, value in SERIES.items():
            into.add(identity, times, [value(n) for n in range(len(times))])
    with both(folder) as urls:
        yield urls


def answer(url: str, expr: str, at: float) -> dict[frozenset[tuple[str, str]], float]:
    words = urlencode({"query": expr, "time": at, "nocache": "1"})
    with urllib.request.urlopen(f"{url}/api/v1/query?{words}") as response:
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    ignored = {*EXTERNAL, "__name__"}
    return {
        frozenset((name, value) for name, value in one["metric"].items() if name not in ignored): float(one["value"][1])
        for one in found
    }


def of_a_month() -> dict[str, str]:
    """Give the rules that look back a month."""
    files = [yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / "rules").glob("*.yml"))]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    found = [rule for rule in rules if MONTH.search(rule["expr"])]
    return {f"{rule.get('record') or rule['alert']} {rule.get('labels', {})}": rule["expr"] for rule in found}


@pytest.mark.skipif(not there(), reason=SKIPPED)
def test_the_rules_of_a_month_give_the_same_answers(month: tuple[str, str]) -> None:
    rules = of_a_month()
    assert len(rules) > 3
    for name, expr in rules.items():
        for at in (END, END - 1, END - 3_601, END - 86_399):
            ours, theirs = (answer(url, expr, at) for url in month)
            assert ours, f"{name} says nothing of this month"
            assert ours == pytest.approx(theirs, rel=1e-9), (name, at)


@pytest.mark.skipif(not there(), reason=SKIPPED)
def test_what_evaluates_rules_on_victoriametrics_takes_all_of_them() -> None:
    words = [str(FOLDER / "vmalert"), "-dryRun", f"-rule={ROOT / 'rules/*.yml'}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Of series that end without a stale marker, as promtool writes them, Prometheus alone shows five minutes more.
ENDED = {'panel 6 "System health over time" query A', 'panel 8 "Time without an outage" query A'}


@pytest.mark.slow
@pytest.mark.skipif(not there(), reason=SKIPPED)
def test_dashboards_of_a_month_give_the_same_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    making = [sys.executable, "-m", "deploy.simulation.history", str(tmp_path / "prometheus"), "--days=31"]
    subprocess.run([*making, f"--until={datetime.fromtimestamp(END, UTC):%Y-%m-%dT%H:%M:%SZ}"], check=True)
    with both(tmp_path) as (ours, theirs):
        for end, length in ((END - 7_200, "3h"), (END - 800, "23h"), (END - 800, "7d")):
            words = [f"--prometheus.url={ours}", f"--other.url={theirs}", f"--at={end}", f"--range={length}"]
            main(words)
            *lines, last = capsys.readouterr().out.splitlines()
            assert int(last.split()[0]) > 300, last
            assert {line.split(" ", 1)[1].rpartition(": ")[0] for line in lines} <= ENDED
