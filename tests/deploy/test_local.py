"""The launcher and the stack: everything starts, says where it is, stops without a trace, and fails in one sentence."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local.ports import free_port

RUN = ("-m", "deploy.local.run")
STACK = ("-m", "deploy.local.stack")
NAMES = ("EXPORTER", "RECEIVER", "PROMETHEUS", "ALERTMANAGER")


@pytest.fixture
def ports() -> dict[str, str]:
    return {f"{name}_PORT": str(free_port()) for name in NAMES}


@pytest.fixture
def launched(ports: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **ports, "NO_COLOR": "1"}
    process = subprocess.Popen([sys.executable, *RUN], env=environment, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.stack
@pytest.mark.story
def test_make_run_starts_shows_and_stops_everything(launched: subprocess.Popen[str], ports: dict[str, str]) -> None:
    assert launched.stdout is not None
    shown = ""
    for line in launched.stdout:
        shown += line
        if "Ctrl-C" in line:
            break
    for name in NAMES:
        assert f"✓ {name.lower()}" in shown
        url = f"http://127.0.0.1:{ports[f'{name}_PORT']}/-/ready"
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.status == 200
    link = re.findall(r"http://127\.0\.0\.1:\d+/sign-in/\S+", shown)[0]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(urllib.request.Request(link, headers={"Sec-Fetch-Site": "none"}), timeout=30) as page:
        assert (page.status, "sign-in" in page.url) == (200, False)
    command = next(line for line in shown.splitlines() if "/api/events" in line)
    token = Path(re.findall(r"\$\(cat (\S+)\)", command)[0]).read_text("utf-8").strip()
    body = b'{"type": "user_registered", "data": {"channel": "web", "plan": "trial"}}'
    url = f"http://127.0.0.1:{ports['EXPORTER_PORT']}/api/events"
    request = urllib.request.Request(url, data=body, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 202
    launched.send_signal(signal.SIGINT)
    rest = launched.stdout.read()
    assert launched.wait(30) == 0
    assert "Stopped after" in rest
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0, f"somebody still listens on {port}"


@pytest.mark.stack
@pytest.mark.story
def test_no_program_outlives_a_launcher_that_was_killed(launched: subprocess.Popen[str], ports: dict[str, str]) -> None:
    assert launched.stdout is not None
    for line in launched.stdout:
        if "Ctrl-C" in line:
            break
    launched.kill()
    launched.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        held = []
        for port in ports.values():
            with socket.socket() as probe:
                held += [port] if probe.connect_ex(("127.0.0.1", int(port))) == 0 else []
        if not held:
            return
        time.sleep(0.1)  # a real process is dying; there is nothing to await
    raise AssertionError(f"still listening: {held}")


def test_a_busy_port_is_one_sentence(ports: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", int(ports["PROMETHEUS_PORT"]))):
        done = run(*RUN, **ports)
    assert done.returncode == 1
    assert f"port {ports['PROMETHEUS_PORT']} (prometheus)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("value", ["x", "0", "70000"])
def test_a_port_that_is_none_is_one_sentence(value: str) -> None:
    done = run(*RUN, RECEIVER_PORT=value)
    assert done.returncode == 1
    assert f"RECEIVER_PORT='{value}'" in done.stdout


@pytest.mark.parametrize("module", ["exporter", "receiver"])
def test_a_bad_configuration_is_one_sentence(module: str, tmp_path: Path) -> None:
    config = yaml.safe_load(Path(f"deploy/config/{module}.yml").read_text("utf-8"))
    path = tmp_path / f"{module}.yml"
    path.write_text(yaml.safe_dump({**config, "colour": "red"}), "utf-8")
    for command in ("check", "serve"):
        done = run("-m", module, command, f"--config.file={path}")
        assert done.returncode == 1
        assert done.stderr.startswith(f"{module}: {path}:")
        assert "colour: unknown key" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["exporter", "receiver"])
def test_the_example_is_checked_without_its_secrets_and_refused_without_them_in_earnest(module: str) -> None:
    path = f"deploy/config/{module}.yml"
    done = run("-m", module, "check", f"--config.file={path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("OK ")
    assert "warning: " in done.stderr
    assert run("-m", module, "check", f"--config.file={path}", "--secrets").returncode == 1


@pytest.mark.stack
def test_the_stack_is_found_again_and_every_program_runs() -> None:
    done = run(*STACK)
    assert done.returncode == 0
    assert re.fullmatch(
        r"stack: prometheus \d+\.\d+, promtool \d+\.\d+, alertmanager \d+\.\d+, amtool \d+\.\d+\n", done.stdout
    )


def test_a_package_that_was_changed_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "promtool_3.5.3+ds1-6_amd64.deb"
    package.write_bytes(b"not what it was")
    code = (
        "import sys; from pathlib import Path\n"
        "from deploy.local.apt import check; from deploy.local.pins import SHA256\n"
        "check(Path(sys.argv[1]), SHA256)"
    )
    done = run("-c", code, package)
    assert done.returncode == 1
    assert "SHA-256" in done.stderr
