"""Both programs' manners: suggestions, versions, closed pipes, no credentials and no colours where none belong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import exporter.__main__
import receiver.__main__
from process.addresses import is_http, listen_address, own_url, redacted
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


@pytest.mark.parametrize(
    ("program", "words", "says"),
    [
        (receiver.__main__, ["--config.flie=x"], "unknown option --config.flie; did you mean '--config.file'?"),
        (receiver.__main__, ["check", "--config.flie", "x"], "--config.flie; did you mean '--config.file'?"),
        (receiver.__main__, ["check", "--config.file=x", "--sercets"], "--sercets; did you mean '--secrets'?"),
        (receiver.__main__, ["token", "create", "--nmae=x"], "--nmae; did you mean '--name'?"),
        (exporter.__main__, ["check", "--config.flie", "x"], "--config.flie; did you mean '--config.file'?"),
        (exporter.__main__, ["--x"], "unknown option --x\n"),
    ],
)
def test_an_unknown_option_names_the_nearest(program: object, words: list[str], says: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(words)  # type: ignore[attr-defined]
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", list(receiver.__main__.COMMANDS))
def test_the_help_of_a_command_begins_as_its_line_in_the_list(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        receiver.__main__.main([name, "--help"])
    about = receiver.__main__.COMMANDS[name].about
    assert f"{about[0].upper()}{about[1:]}." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", [["check"], ["explain", "severity=critical"], []])
@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_said_in_words(
    words: list[str], content: bytes | None, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "receiver.yml"
    if content is not None:
        path.write_bytes(content)
    assert receiver.__main__.main([*words, f"--config.file={path}"]) == 1
    why = "it is not UTF-8 text" if content else "No such file or directory"
    assert capsys.readouterr().err == f"receiver: cannot read {path}: {why}\n"


@pytest.mark.parametrize(("level", "shown"), [("info", ["ours"]), ("debug", ["HTTP Request: GET", "ours"])])
def test_the_log_has_no_line_for_each_request_of_a_library(level: str, shown: list[str]) -> None:
    lines = f"from process.logs import set_up_logs; import logging; set_up_logs('{level}'); "
    lines += "logging.getLogger('httpx2').info('HTTP Request: GET'); logging.getLogger('receiver').info('ours')"
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert [line.partition(" msg=")[2].strip('"') for line in done.stderr.splitlines()] == shown


@pytest.mark.parametrize("name", ["receiver", "exporter"])
def test_the_usage_shows_what_was_typed(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", name, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: python -m {name} [-h]")


WRONG = ["", "9095", "localhost", "127.0.0.1:99999", "http://127.0.0.1:9095", "127.0.0.1:9095/x", "::1:9095", "a b:1"]


@pytest.mark.parametrize("address", WRONG)
def test_an_address_to_listen_on_that_is_none_is_refused_with_its_line(
    address: str, tmp_path: Path, capsys: Capture
) -> None:
    own = tmp_path / "receiver.yml"
    own.write_text(f'listen: "{address}"\n{Path("tests/receiver/receiver.yml").read_text("utf-8")}', "utf-8")
    assert receiver.__main__.main(["check", f"--config.file={own}"]) == 1
    assert f"{own}:1: listen: invalid address {address!r} (expected HOST:PORT" in capsys.readouterr().err
    for key in ("listen", "metrics_listen", "browser.listen"):
        if address or key == "listen":
            part, _, last = key.rpartition(".")
            text = f'{part}: {{{last}: "{address}"}}\n' if part else f'{last}: "{address}"\n'
            other = tmp_path / "exporter.yml"
            other.write_text(text, "utf-8")
            assert exporter.__main__.main(["check", f"--config.file={other}"]) == 1
            assert f"{other}:1: {key}: invalid address" in capsys.readouterr().err
    if address:
        assert exporter.__main__.main([f"--web.listen-address={address}"]) == 1
        assert "exporter: --web.listen-address: invalid address" in capsys.readouterr().err


def test_addresses_to_listen_on() -> None:
    written = [
        "127.0.0.1:9095",
        ":9095",
        "[::1]:9095",
        "[::]:1",
        "0.0.0.0:65535",
        "oncall.example:0",
        "[fe80::1%eth0]:1",
    ]
    read = ["127.0.0.1", "", "::1", "::", "0.0.0.0", "oncall.example", "fe80::1%eth0"]  # noqa: S104
    assert [listen_address(one)[0] for one in written] == read
    assert [own_url(one) for one in written[:5]] == [
        *("http://127.0.0.1:9095", "http://127.0.0.1:9095", "http://[::1]:9095", "http://[::1]:1"),
        "http://127.0.0.1:65535",
    ]


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
