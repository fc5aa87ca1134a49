"""Asks a Prometheus on the simulated history what our rules would have recorded and which alerts would have fired."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from deploy.local.ports import free_port
from deploy.simulation.blocks import BlockError, Blocks, series

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds until Prometheus must be ready
DURATION = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Rule:
    """One rule as its file has it."""

    name: str
    expr: str
    labels: Mapping[str, str]
    wait: float = 0.0  # `for`, seconds
    keep: float = 0.0  # `keep_firing_for`


@dataclass(frozen=True)
class Stretch:
    """A time to be looked at, and how closely; at most 11,000 steps."""

    start: int
    end: int
    step: int


def read() -> tuple[list[list[Rule]], list[Rule]]:
    """Give the recording rules, those first that need no other, and the alerts."""
    recordings, alerts = list[Rule](), list[Rule]()
    for path in sorted((ROOT / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                read_rule = Rule(
                    rule.get("record") or rule["alert"],
                    rule["expr"],
                    rule.get("labels", {}),
                    seconds(rule.get("for", "0s")),
                    seconds(rule.get("keep_firing_for", "0s")),
                )
                (recordings if "record" in rule else alerts).append(read_rule)
    return _levels(recordings), alerts


def seconds(text: str) -> float:
    """Read Prometheus' durations."""
    return sum(float(n) * DURATION[unit] for n, unit in re.findall(r"([\d.]+)(ms|[smhdw])", text))


def _levels(rules: list[Rule]) -> list[list[Rule]]:
    names = {rule.name for rule in rules}
    needs: dict[str, set[str]] = {}
    for rule in rules:
        needs.setdefault(rule.name, set()).update(set(re.findall(r"[a-zA-Z_:][\w:]*", rule.expr)) & names - {rule.name})
    levels, done = list[list[Rule]](), set[str]()
    while len(done) < len(names):
        ready = {name for name in names - done if needs[name] <= done}
        levels.append([rule for rule in rules if rule.name in ready])
        done |= ready
    return levels


class Asked:
    """A Prometheus on a data folder for as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        config = self._folder / "asked.yml"
        config.write_text("global: {}\n", "utf-8")
        command = [
            *(str(ROOT / ".stack/bin/prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self._folder}"),
            *(f"--web.listen-address={self.url.removeprefix('http://')}", "--storage.tsdb.retention.time=10y"),
            *("--log.level=error", "--query.timeout=5m"),
        ]
        self._log = (self._folder / "asked.log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.__exit__(None, None, None)
        raise BlockError("Prometheus did not start on the data folder")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
        for name in ("asked.yml", "asked.log"):
            (self._folder / name).unlink(missing_ok=True)

    def over(self, expr: str, stretch: Stretch) -> list[dict[str, Any]]:
        """Give the series of a range query."""
        fields = {"query": expr, "start": stretch.start, "end": stretch.end, "step": stretch.step}
        body = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query_range", body, timeout=300) as answer:
                return list(json.load(answer)["data"]["result"])
        except urllib.error.HTTPError as error:
            raise BlockError(f"{expr}: {error.read().decode(errors='replace')[:300]}") from error


def record(folder: Path, level: Sequence[Rule], stretches: Sequence[Stretch], into: Blocks) -> None:
    """Write what a level of recording rules gives."""
    with Asked(folder) as prometheus:
        for rule in level:
            for stretch in stretches:
                for result in prometheus.over(rule.expr, stretch):
                    labels = {**result["metric"], **rule.labels}
                    labels.pop("__name__", None)
                    times = [int(at) for at, _ in result["values"]]
                    into.add(series(rule.name, labels), times, [float(value) for _, value in result["values"]])


def fire(folder: Path, alerts: Sequence[Rule], stretches: Sequence[Stretch], every: int, into: Blocks) -> None:
    """Write the ALERTS series of each alert, with a sample ``every`` seconds."""
    with Asked(folder) as prometheus:
        for rule in alerts:
            for stretch in stretches:
                for result in prometheus.over(rule.expr, stretch):
                    metric = result["metric"]
                    labels = {**metric, **{key: _filled(text, metric) for key, text in rule.labels.items()}}
                    labels |= {"alertname": rule.name}
                    labels.pop("__name__", None)
                    states = list(_states([int(at) for at, _ in result["values"]], stretch, rule))
                    for state in ("pending", "firing"):
                        times = [
                            at for kind, _, begin, end in states if kind == state for at in range(begin, end, every)
                        ]
                        if times:
                            into.add(series("ALERTS", {**labels, "alertstate": state}), times, [1.0] * len(times))
                    active = [(at, since) for _, since, begin, end in states for at in range(begin, end, every)]
                    into.add(
                        series("ALERTS_FOR_STATE", labels),
                        [at for at, _ in active],
                        [float(since) for _, since in active],
                    )


def firing(result: Mapping[str, Any], stretch: Stretch, rule: Rule) -> list[tuple[int, int]]:
    """Return when a rule would have fired for one series of its expression: begin and end."""
    times = [int(at) for at, _ in result["values"]]
    return [(begin, end) for state, _, begin, end in _states(times, stretch, rule) if state == "firing"]


def _states(times: Sequence[int], stretch: Stretch, rule: Rule) -> Iterator[tuple[str, int, int, int]]:
    """Give the times in which the alert was pending and firing: the state, since when it is active, begin and end."""
    at = 0
    while at < len(times):
        end = at
        while end + 1 < len(times) and times[end + 1] - times[end] <= max(stretch.step, rule.keep):
            end += 1
        begin, over = times[at], times[end] + stretch.step
        fires = begin + -(-int(rule.wait) // stretch.step) * stretch.step
        if fires > begin:
            yield "pending", begin, begin, min(fires, over)
        if fires < over:
            yield "firing", begin, fires, over + int(rule.keep)
        at = end + 1


def _filled(text: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{\s*\$labels\.(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), text)
