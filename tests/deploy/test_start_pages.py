"""The pages for a first start work as they stand: their commands are typed here, with the wheel and nothing else."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from deploy.local.ports import free_port
from tests.deploy.conftest import Packages
from tests.deploy.walk import ROOT, Walk, blocks, typed
from tests.fakes.smtp import FakeSMTP

PATIENCE = 90.0
RULES = {
    "groups": [
        {
            "name": "shop",
            "interval": "1s",
            "rules": [
                {
                    "alert": "ShopDown",
                    "expr": 'up{job="shop"} == 0',
                    "labels": {"severity": "critical", "team": "shop"},
                    "annotations": {"summary": "The shop does not answer"},
                }
            ],
        }
    ]
}


def until(what: str, question: Callable[[], Any]) -> Any:  # noqa: ANN401  # what the question gives
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"timed out after {PATIENCE:.0f} s waiting until {what}")


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return path


@contextmanager
def running(log: Path, *command: str) -> Iterator[None]:
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def mails(smtp: FakeSMTP, to: str, alert: str) -> list[str]:
    """The texts of the receiver's mails to somebody about an alert."""
    found = [mail for recipients, mail in list(smtp.mails) if to in recipients and alert in str(mail["Subject"])]
    bodies = [mail.get_body(("plain",)) for mail in found if mail["X-HeyPeter-Kind"]]
    return [str(body.get_content()) for body in bodies if body is not None]


@contextmanager
def prometheus_and_alertmanager(folder: Path, smtp: FakeSMTP, ports: dict[str, int]) -> Iterator[None]:
    """What the reader has: both run, and ShopDown fires and is mailed to the shop."""
    alertmanager = {
        "global": {
            "smtp_smarthost": f"127.0.0.1:{smtp.port}",
            "smtp_from": "alertmanager@example.com",
            "smtp_require_tls": False,
        },
        "route": {
            "receiver": "operations",
            "group_by": ["alertname"],
            "group_wait": "1s",
            "group_interval": "2s",
            "routes": [{"matchers": ['team="shop"'], "receiver": "shop"}],
        },
        "receivers": [
            {"name": "operations", "email_configs": [{"to": "operations@example.com"}]},
            {"name": "shop", "email_configs": [{"to": "shop@example.com"}]},
        ],
    }
    prometheus = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(written(folder / "prometheus/rules/shop.yml", RULES))],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]}]},
        "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{free_port()}"]}]}],
    }
    with (
        running(
            folder / "alertmanager.log",
            *(str(ROOT / ".stack/bin/alertmanager"), "--cluster.listen-address="),
            f"--config.file={written(folder / 'alertmanager/alertmanager.yml', alertmanager)}",
            f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
            f"--storage.path={folder / 'alertmanager/data'}",
        ),
        running(
            folder / "prometheus.log",
            *(str(ROOT / ".stack/bin/prometheus"), "--rules.alert.resend-delay=2s"),
            f"--config.file={written(folder / 'prometheus/prometheus.yml', prometheus)}",
            f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
            f"--storage.tsdb.path={folder / 'prometheus/data'}",
        ),
    ):
        for name in ("alertmanager", "prometheus"):
            until(f"{name} is ready", partial(is_ready, f"http://127.0.0.1:{ports[name]}"))
        until("the shop has its mail", lambda: any("shop@example.com" in to for to, _ in list(smtp.mails)))
        yield


def name_who_is_on_call(walk: Walk, port: int, path: Path) -> None:
    """Replace the people by those of the page; our receiver listens on a port of its own besides."""
    (page,) = blocks("start-on-call.md", "yaml")
    file = yaml.safe_load(walk.translated(path.read_text("utf-8")))
    written(path, file | yaml.safe_load(page) | {"listen": f"127.0.0.1:{port}"})


def put_in_the_block(walk: Walk, path: Path) -> None:
    block = yaml.safe_load(walk.translated((walk.folder / "alertmanager.block.yml").read_text("utf-8")))
    file = yaml.safe_load(path.read_text("utf-8"))
    written(path, file | {"route": block["route"], "receivers": file["receivers"] + block["receivers"]})


def acknowledge(text: str) -> None:
    """What a reader does with the mail: open its link and press the button."""
    link = re.search(r"http://\S+/answer/\S+", text)
    assert link, text
    with urlopen(link[0], data=urlencode({"verb": "acknowledge"}).encode(), timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.stack
@pytest.mark.story
def test_on_call_for_an_existing_prometheus_and_alertmanager(
    packages: Packages, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    commands, smtp = typed("start-on-call.md"), FakeSMTP()
    assert len(commands) <= 12
    ports = {name: free_port() for name in ("alertmanager", "prometheus", "receiver")}
    here = {
        f"localhost:{page}": f"localhost:{ports[name]}" for name, page in (("alertmanager", 9093), ("receiver", 9095))
    }
    here |= {f"/etc/{name}/": f"{tmp_path}/etc/{name}/" for name in ("alertmanager", "prometheus")}
    walk = Walk(
        tmp_path,
        packages.programs,
        here,
        {
            "receiver.yml": lambda path: name_who_is_on_call(walk, ports["receiver"], path),
            "/etc/alertmanager/alertmanager.yml": lambda path: put_in_the_block(walk, path),
        },
    )
    smtp.start()
    try:
        with prometheus_and_alertmanager(tmp_path / "etc", smtp, ports), walk, ThreadPoolExecutor() as threads:
            began = time.monotonic()
            shown = {line: walk.type(line) for line in commands[:-1]}
            drill = threads.submit(walk.type, commands[-1])
            acknowledge(until("the drill has paged", lambda: mails(smtp, "linh@example.com", "DRILL"))[0])
            record_property("seconds until the first page was answered", round(time.monotonic() - began, 1))
            assert "The drill reached somebody." in drill.result(PATIENCE)
            until("the firing alert has paged", lambda: mails(smtp, "linh@example.com", "ShopDown"))
        (table,) = [text for line, text in shown.items() if " init " in line]
        assert re.search(r"^ShopDown +P1 +shop ", table, re.MULTILINE), table
    finally:
        smtp.stop()


def write_block(here: dict[str, str], path: Path) -> None:
    (text,) = [text for text in blocks("start-events.md", "yaml") if text.startswith(f"# {path.name}\n")]
    (old, new), *_ = here.items()
    path.write_text(text.replace(old, new), "utf-8")


def test_events_of_ones_own_become_metrics(packages: Packages, tmp_path: Path) -> None:
    here = {"127.0.0.1:3001": f"127.0.0.1:{free_port()}"}
    edits = dict.fromkeys(("ferry.yml", "exporter.yml"), partial(write_block, here))
    with Walk(tmp_path, packages.programs, here, edits) as walk:
        *_, metrics = [walk.type(line) for line in typed("start-events.md")]
    page = (ROOT / "docs/start-events.md").read_text("utf-8")
    (told,) = re.findall(r"`(tickets_sold_total\{[^`]+)`", page)
    assert told in metrics.splitlines()
    assert 'tickets_sold_total{channel="web",vessel="borealis"} 0.0' in metrics.splitlines()


def test_the_page_for_one_machine_names_targets_that_exist() -> None:
    page = (ROOT / "docs/start-one-machine.md").read_text("utf-8")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", page, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
