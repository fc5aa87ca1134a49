"""A small past that is known to the sample, and a Prometheus on it: what a review must find again."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from deploy.local.ports import free_port
from tests.receiver.example_site import START
from tests.stories.stack import TOOLS

DAY, MINUTE = 86_400, 60
END = int(START.timestamp()) + 5 * DAY
BEGIN = END - 7 * DAY
# When TooHot fired: instance, minutes after BEGIN, minutes; evaluated every 30 seconds, `for` two minutes. The second
# ends just after a day, where a review stops asking and asks again.
HOT = [("a", 100, 10), ("a", 1_431, 10), ("a", 5_000, 20), ("b", 102, 30), ("b", 9_000, 8)]
AIRED = ("b", 7_000, 10)  # it was as hot, and the door stood open: the rule's second condition did not hold
MISSED = {("a", 5_010)}  # a minute in which Prometheus was restarted, in the middle of a firing
RULES = {
    "groups": [
        {
            "name": "rooms",
            "interval": "30s",
            "rules": [
                {
                    "alert": "TooHot",
                    "expr": 'temperature > 30 and on (instance) door{state="closed"} == 1',
                    "for": "2m",
                    "labels": {"severity": "critical", "priority": "P1", "team": "{{ $labels.owner }}"},
                },
                {"alert": "TooCold", "expr": "temperature < 5", "labels": {"severity": "info", "priority": "P3"}},
                {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}},
                {
                    "alert": "CpuAboveBenchmark",
                    "expr": 'heypeter:benchmark:value{benchmark="cpu"} >= 0.7',
                    "labels": {"severity": "info", "priority": "P3"},
                },
            ],
        }
    ]
}


def lines() -> Iterator[str]:
    """The samples as OpenMetrics text."""
    for instance in ("a", "b"):
        for at in range(BEGIN, END + 1, MINUTE):
            yield f'temperature{{instance="{instance}"}} {_degrees(instance, (at - BEGIN) // MINUTE)} {at}'
            shut = not _within(AIRED, instance, (at - BEGIN) // MINUTE)
            yield f'door{{instance="{instance}",state="closed"}} {int(shut)} {at}'
    labels = 'alertname="TooHot",alertstate="firing",severity="critical",priority="P1",team="house"'
    for instance, start, minutes in HOT:
        for at in range(BEGIN + start * MINUTE, BEGIN + (start + minutes) * MINUTE, 30):
            if (instance, (at - BEGIN) // MINUTE) not in MISSED:
                yield f'ALERTS{{instance="{instance}",{labels}}} 1 {at}'
    for at in range(END - 120 * DAY, END + 1, 900):
        cpu = '{benchmark="cpu",unit="ratio"}'
        now = at > END - 60 * DAY
        yield f"heypeter:benchmark:value{cpu} {0.5 if now else 0.4} {at}"
        yield f"heypeter:benchmark:target{cpu} 0.7 {at}"
        yield f"heypeter:benchmark:met{cpu} 1 {at}"


def _degrees(instance: str, minute: int) -> float:
    """Hot from two minutes before it fires: that is the `for`. Once it is hot for a minute only."""
    if (instance, minute) == ("a", 3_000):
        return 33
    hot = any(_within(one, instance, minute) for one in (*HOT, AIRED))
    return 35 if hot else 20 + minute % 3


def _within(one: tuple[str, int, int], instance: str, minute: int) -> bool:
    name, start, long = one
    return name == instance and start - 2 <= minute < start + long


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """The URL of a Prometheus on this past."""
    samples, data, rules, config = (folder / name for name in ("samples.om", "data", "rooms.yml", "prometheus.yml"))
    samples.write_text("\n".join((*lines(), "# EOF\n")), "utf-8")
    making = [
        TOOLS / "promtool",
        "tsdb",
        "create-blocks-from",
        "--max-block-duration=486h",
        "openmetrics",
        samples,
        data,
    ]
    subprocess.run([str(part) for part in making], check=True, capture_output=True)
    rules.write_text(yaml.safe_dump(RULES), "utf-8")
    config.write_text(json.dumps({"rule_files": [str(rules)]}), "utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        *(str(TOOLS / "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}"),
        *(f"--web.listen-address={url.removeprefix('http://')}", "--storage.tsdb.retention.time=10y"),
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "Prometheus did not start"
        try:
            with urllib.request.urlopen(f"{url}/api/v1/rules", timeout=2) as answer:
                if json.load(answer)["data"]["groups"]:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("Prometheus was not ready")
