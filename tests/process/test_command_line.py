"""Both programs' manners: suggestions, versions, closed pipes, no credentials and no colours where none belong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import exporter.__main__
import receiver.__main__
from process.addresses import is_http, redacted
from process.version import VERSION

EXAMPLE = "--config.file=tests/receiver/receiver.yml"
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("program", "word", "says"),
    [
        (receiver.__main__, "chek", "did you mean 'check'?"),
        (receiver.__main__, "explian", "did you mean 'explain'?"),
        (receiver.__main__, "xyzzy", "expected one of serve, check"),
        (exporter.__main__, "chekc", "did you mean 'check'?"),
        (exporter.__main__, "metric-docs", "did you mean 'metrics-doc'?"),
    ],
)
def test_an_unknown_command_names_the_nearest(program: object, word: str, says: str, capsys: Capture) -> None:
    assert program.main([word, "--x"]) == 2  # type: ignore[attr-defined]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert says in shown.err


@pytest.mark.parametrize("name", ["receiver", "exporter"])
def test_the_version_is_told(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", name, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{name} {VERSION}\n"


@pytest.mark.parametrize(
    "command",
    [
        ["receiver", "explain", EXAMPLE, "severity=critical", "--format=json"],
        ["receiver", "preview", "--format=html", "--alerts=900"],
        ["exporter", "metrics-doc"],
    ],
)
def test_a_reader_that_leaves_early_costs_no_traceback(command: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen([sys.executable, "-m", *command], stdout=write, stderr=subprocess.PIPE, text=True) as run:
        os.close(write)
        _, errors = run.communicate(timeout=60)
    assert (run.returncode, errors) == (141, "")


def test_a_pipe_gets_no_colours_and_eighty_columns() -> None:
    command = [sys.executable, "-m", "receiver", "explain", EXAMPLE, "alertname=HighErrorRate", "severity=critical"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("kind", ["page", "resolved", "bundle"])
def test_a_preview_for_slack_is_what_block_kit_builder_takes(kind: str, capsys: Capture) -> None:
    assert receiver.__main__.main(["preview", "--kind", kind, "--format", "slack"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [*shown] == ["blocks"]
    assert shown["blocks"][0]["type"] == "header"


def test_a_preview_of_a_first_page_and_of_many_alerts(capsys: Capture) -> None:
    assert receiver.__main__.main(["preview", "--first", "--format", "headline"]) == 0
    assert capsys.readouterr().out == "P1 #12 HighErrorRate: High error rate detected\n"
    assert receiver.__main__.main(["preview", "--first", "--alerts=40", "--format=subject"]) == 0
    assert capsys.readouterr().out == "[P1] #12 HighErrorRate on 40 hosts (app-12, app-13, …)\n"
    assert receiver.__main__.main(["preview", "--alerts=0"]) == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://linh:hunter2@p.example:9090/x?token=hunter2#hunter2", "https://p.example:9090/x"),
        ("https://hunter2@p.example", "https://p.example"),
        ("https://a:hunter2@b@p.example/", "https://p.example/"),
        ("linh:hunter2@p.example/x", "p.example/x"),
        ("//linh:hunter2@p.example", "//p.example"),
        ("http://p.example", "http://p.example"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_the_review_shows_no_credentials_of_its_url(tmp_path: Path, capsys: Capture) -> None:
    for url in ("http://linh:hunter2@127.0.0.1:9/?a=hunter2", "ftp://linh:hunter2@x", "linh:hunter2@x"):
        assert (
            receiver.__main__.main(["review", "--period=weekly", f"--prometheus.url={url}", f"--output={tmp_path}"])
            == 1
        )
        shown = capsys.readouterr()
        assert "hunter2" not in shown.out + shown.err


def test_what_is_a_url() -> None:
    good = ("http://localhost:9093", "https://a.example/x", "http://[::1]:80")
    bad = ("", "localhost:9093", "//x", "http://", "http:///x", "ftp://x", "http://a b", "http://[::1", "http:x")
    assert [*map(is_http, good)] == [True] * 3
    assert not any(map(is_http, bad))
