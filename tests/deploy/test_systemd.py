"""The units confine the services, the script installs and removes them, and a real systemd starts them."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.deploy.conftest import Packages
from tests.deploy.installed import ROOT, install
from tests.stories.stack import until

FOLDER = ROOT / "deploy/systemd"
UNITS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".service", ".socket"})
SERVICES = [name for name in UNITS if name.endswith(".service")]
ALLOWED = 20  # of 100: `systemd-analyze security` calls it "OK"; a service without settings has 96


def script(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(FOLDER / "install.sh"), *words]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    done = script("--destdir", str(tmp_path), "--keep-program")
    assert done.returncode == 0, done.stderr
    return tmp_path


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Modes and contents of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        found[str(path.relative_to(folder))] = (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
    return found


def analyse(*words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(installed: Path, name: str) -> None:
    done = analyse("security", "--offline=true", f"--threshold={ALLOWED}", str(installed / "etc/systemd/system" / name))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_systemd_reads_a_unit_without_a_complaint(installed: Path, name: str) -> None:
    done = analyse("verify", str(installed / "etc/systemd/system" / name))
    complaints = [line for line in done.stderr.splitlines() if name in line and "is not executable" not in line]
    assert not complaints


def test_no_placeholder_is_left(installed: Path) -> None:
    for path, (_, content) in files(installed).items():
        assert b"@prefix@" not in content, path
        assert b"@etc@" not in content, path


def test_secrets_are_for_root_only_and_differ(installed: Path) -> None:
    secrets = [path for path in (installed / "etc/heypeter/secrets").rglob("*") if path.is_file()]
    assert len(secrets) == 4
    assert {oct(path.stat().st_mode & 0o777) for path in secrets} == {"0o600"}
    assert {oct(path.parent.stat().st_mode & 0o777) for path in secrets} == {"0o700"}
    contents = {path.read_text("utf-8") for path in secrets}
    assert len(contents) == 4
    assert min(map(len, contents)) >= 40


@pytest.mark.parametrize("name", ["receiver", "exporter"])
def test_the_written_configuration_is_valid_and_names_credentials_of_its_service(installed: Path, name: str) -> None:
    path = installed / f"etc/heypeter/{name}.yml"
    command = [sys.executable, "-m", name, "check", "--config.file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    named = [line for line in path.read_text("utf-8").splitlines() if "_file: " in line]
    assert named
    assert not [line for line in named if f"/run/credentials/heypeter-{name}.service/secret_" not in line]


def test_whatever_the_umask_of_root_the_services_can_read_what_they_need(tmp_path: Path, installed: Path) -> None:
    other = tmp_path / "other"
    command = f"umask 077; exec {FOLDER}/install.sh --destdir {other} --keep-program"
    subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True)
    made = {name: mode for name, (mode, _) in files(other).items() if not name.endswith("-token")}
    usual = {name: mode for name, (mode, _) in files(installed).items() if name in made}
    assert made == usual


def test_an_installation_that_was_cut_off_leaves_no_empty_secret_behind(installed: Path) -> None:
    secret = installed / "etc/heypeter/secrets/receiver/api-token"
    secret.write_bytes(b"")
    assert script("--destdir", str(installed), "--keep-program").returncode == 0
    assert len(secret.read_bytes()) >= 40
    assert oct(secret.stat().st_mode & 0o777) == "0o600"


def test_a_second_run_changes_nothing_of_the_operator(installed: Path) -> None:
    (installed / "etc/heypeter/receiver.yml").write_text("mine", "utf-8")
    before = files(installed)
    assert script("--keep-program", DESTDIR=str(installed)).returncode == 0
    assert files(installed) == before


def test_uninstall_keeps_configuration_and_purge_removes_it(installed: Path) -> None:
    for _ in range(2):
        assert script("--destdir", str(installed), "--uninstall").returncode == 0
        left = {path for path, (mode, _) in files(installed).items() if mode & 0o100000}
        assert left
        assert {path.partition("/")[0] + "/" + path.split("/")[1] for path in left} == {"etc/heypeter"}
    assert script("--destdir", str(installed), "--uninstall", "--purge").returncode == 0
    assert not [path for path, (_, content) in files(installed).items() if content]


def test_the_program_goes_below_the_prefix_and_names_its_final_place(tmp_path: Path, packages: Packages) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PYTHON": sys.executable}
    done = script("--destdir", str(tmp_path), "--prefix", "/srv/hey", "--package", str(packages.wheel), **offline)
    assert done.returncode == 0, done.stderr
    for name in SERVICES:
        unit = (tmp_path / "etc/systemd/system" / name).read_text("utf-8")
        program = next(line for line in unit.splitlines() if line.startswith("ExecStart=")).partition("=")[2].split()[0]
        assert (tmp_path / program.lstrip("/")).read_text("utf-8").startswith("#!/srv/hey/bin/python")
    theirs = tmp_path / "srv/hey/theirs"
    theirs.touch()  # put there since
    done = script("--destdir", str(tmp_path), "--prefix", "/srv/hey", "--uninstall")
    assert (done.returncode, "left /srv/hey" in done.stdout) == (0, True)
    assert list((tmp_path / "srv/hey").iterdir()) == [theirs]


def test_a_program_that_is_alone_leaves_no_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "srv/hey/bin").mkdir(parents=True)
    (tmp_path / "srv/hey/installed-by-heypeter").touch()
    assert script("--destdir", str(tmp_path), "--prefix", "/srv/hey", "--uninstall").returncode == 0
    assert not (tmp_path / "srv/hey").exists()


def test_a_folder_of_others_is_neither_used_nor_removed(tmp_path: Path) -> None:
    theirs = tmp_path / "opt/theirs/bin/heypeter-receiver"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    done = script("--destdir", str(tmp_path), "--prefix", "/opt/theirs")
    assert (done.returncode, "is not empty" in done.stderr) == (1, True)
    assert script("--destdir", str(tmp_path), "--prefix", "/opt/theirs", "--uninstall").returncode == 0
    assert theirs.exists()


@pytest.mark.parametrize(
    "words", [("--prefix", "relative"), ("--prefix", "/a b"), ("--prefix", "/srv/../etc"), ("--purge",), ("--prefix",)]
)
def test_a_wrong_command_line_changes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = script("--destdir", str(tmp_path), *words)
    assert done.returncode == 1
    assert "install.sh: " in done.stderr
    assert not list(tmp_path.iterdir())


class Booted:
    """A systemd in namespaces of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.share = folder, folder / "share"
        for name in ("upper", "root", "share"):
            (folder / name).mkdir()

    def boot(self, *shown: Path) -> None:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts", "--net", "--ipc"]
        words = [*unshare, "sh", str(ROOT / "tests/deploy/boot.sh"), str(self.folder), *map(str, shown)]
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log)

    def init(self) -> str:
        """The process that is number 1 inside; "" before it has been started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("utf-8").split()
        return children[0] if children else ""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--target={self.init()}", "--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd"]
        return subprocess.run([*inside, *words], capture_output=True, text=True, check=False, timeout=300)

    def is_up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text("utf-8")
        asked = ("systemctl", "is-active", "multi-user.target")
        return bool(self.init()) and self.run(*asked).stdout.strip() == "active"

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def can_boot() -> str:
    """Say why no systemd can be booted here; "" if it can be tried."""
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        return "needs root and systemd"
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True).returncode:
        return "no namespaces here"
    version = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run(["/usr/bin/python3", "-c", version], capture_output=True, text=True, check=False)
    return (
        "" if done.stdout.split() == [str(n) for n in sys.version_info[:2]] else "/usr/bin/python3 is another version"
    )


@pytest.fixture
def booted(tmp_path: Path, packages: Packages) -> Iterator[Booted]:
    reason = can_boot()
    if reason:
        pytest.skip(reason)
    system = Booted(tmp_path)
    install(packages.wheel, system.share / "program", Path("/usr/bin/python3"))
    shutil.copytree(ROOT / "deploy", system.share / "deploy")
    shutil.copy(ROOT / "tests/deploy/systemd_load.py", system.share)
    try:
        system.boot(Path(sysconfig.get_path("purelib")).resolve())
        yield system
    finally:
        system.end()


@pytest.mark.slow
async def test_a_real_systemd_starts_both_services_and_restarts_lose_nothing(booted: Booted) -> None:
    await until("systemd is up", booted.is_up)
    done = booted.run(
        "sh",
        "-c",
        "cp -r /share/program /opt/heypeter && sed -i '1s|.*|#!/opt/heypeter/bin/python|' "
        "/opt/heypeter/bin/heypeter-* && /share/deploy/systemd/install.sh --keep-program",
    )
    assert done.returncode == 0, done.stderr
    local = ROOT / "deploy/local"
    configure(booted, "receiver", local, {"database: ../../data/run": "database: /var/lib/heypeter-receiver"})
    configure(
        booted, "exporter", ROOT / "deploy/config", {"path: data/exporter": "path: /var/lib/heypeter-exporter/state"}
    )
    started = booted.run("systemctl", "enable", "--now", "heypeter-receiver", "heypeter-exporter")
    assert started.returncode == 0, booted.run("journalctl", "--no-pager", "-n", "40").stdout
    done = booted.run("/opt/heypeter/bin/python", "/share/systemd_load.py", "3")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failed"] == []
    booted.run("systemctl", "stop", "heypeter-receiver")
    booted.run("cp", "/var/lib/private/heypeter-receiver/receiver.sqlite3", "/share/")
    with closing(sqlite3.connect(booted.share / "receiver.sqlite3")) as store:
        assert store.execute("SELECT count(*) FROM incident").fetchone() == (result["alerts"],)
    lines = booted.run("/opt/heypeter/bin/python", "-c", READ_METRICS).stdout.split()
    assert float(lines[-1]) == result["events"]
    gone = booted.run("/share/deploy/systemd/install.sh", "--uninstall", "--purge")
    assert gone.returncode == 0, gone.stderr
    assert booted.run("systemctl", "list-unit-files", "heypeter*", "--no-legend").stdout == ""


READ_METRICS = """
import urllib.request
text = urllib.request.urlopen("http://127.0.0.1:3001/metrics").read().decode()
print(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("class_bookings_total{")))
"""


def configure(booted: Booted, name: str, folder: Path, changes: dict[str, str]) -> None:
    """Install a configuration that needs no secret but those that the script has made."""
    text = (folder / f"{name}.yml").read_text("utf-8").replace("first_increment_hold: 30s", "first_increment_hold: 0s")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    for old in ("../../data/run/secrets/", "secrets/"):
        text = text.replace(old, f"/run/credentials/heypeter-{name}.service/secret_")
    (booted.share / f"{name}.yml").write_text(text, "utf-8")
    booted.run("cp", f"/share/{name}.yml", "/etc/heypeter/")
