"""The wheel and the sdist hold what the programs need, and the programs start from an environment with nothing else."""

import json
import re
import subprocess
import sysconfig
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest

from deploy.local.installation import Site, prepare
from deploy.local.ports import free_port
from process.version import VERSION
from tests.deploy.conftest import Packages
from tests.deploy.installed import ROOT, metadata, required
from tests.test_packaging import tracked

PATIENCE = 60.0


def test_the_wheel_has_every_tracked_file_of_the_programs_and_no_other(packages: Packages) -> None:
    with ZipFile(packages.wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {str(path) for package in ("exporter", "process", "receiver") for path in tracked(package)}
    assert packed == wanted


def test_the_wheel_stays_small(packages: Packages) -> None:
    # 0.87 MB without the console; each of some 490 files costs 170 bytes in the archive beside what it holds; the store
    # of PostgreSQL and what exporters tell each other are 40 kB
    assert packages.wheel.stat().st_size < 1_250_000  # docs/install.md says 1.2 MB


def test_the_sdist_has_the_examples_and_no_tests(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "deploy/config/receiver.yml", "receiver/app.py"} <= names
    assert not [name for name in names if name.startswith(("tests", "bench"))]


def test_the_version_stands_in_one_place(packages: Packages) -> None:
    assert metadata(packages.wheel)["Version"] == VERSION
    assert f"\n## {VERSION}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f'"{VERSION}"' not in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_locks_have_everything_that_the_wheel_requires(packages: Packages) -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text("utf-8")
        missing = [name for name in required(packages.wheel) if f"\n{name}==" not in f"\n{text}"]
        assert not missing, f"{lock} lacks {missing}"


@pytest.mark.slow
def test_the_list_of_packages_has_every_locked_one_with_its_hashes(tmp_path: Path) -> None:
    (command,) = re.findall(r"^SBOM := \$\(BIN\)/(.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    words = [f"{sysconfig.get_path('scripts')}/{command}", "-o", str(tmp_path / "sbom.json"), "requirements.lock"]
    done = subprocess.run(" ".join(words), shell=True, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S602
    assert done.returncode == 0, done.stderr
    listed = json.loads((tmp_path / "sbom.json").read_text("utf-8"))["components"]
    found = {(one["name"], one["version"]) for one in listed if one["externalReferences"][0]["hashes"]}
    locked = re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert found == set(locked)


@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_a_program_tells_its_version(packages: Packages, name: str) -> None:
    done = subprocess.run(
        [packages.programs / f"heypeter-{name}", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()[-1]) == (0, VERSION)


@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_a_program_checks_the_shipped_example(packages: Packages, tmp_path: Path, name: str) -> None:
    example = ROOT / f"deploy/config/{name}.yml"
    command = [str(packages.programs / f"heypeter-{name}"), "check", "--config.file", str(example)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=folder)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> float:
    """Give the seconds until the process says that it is ready."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE:
        assert process.poll() is None, f"it exited with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return time.monotonic() - began
        except urllib.error.URLError:
            time.sleep(0.01)
    raise AssertionError(f"not ready after {PATIENCE:.0f} s")


@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_a_program_becomes_ready_without_the_packages_of_developers(
    packages: Packages, tmp_path: Path, record_property: Callable[[str, object], None], name: str
) -> None:
    site = Site(tmp_path, {one: free_port() for one in ("exporter", "receiver", "prometheus", "alertmanager")})
    prepare(site)
    command = [str(packages.programs / f"heypeter-{name}"), f"--config.file={tmp_path / f'{name}.yml'}"]
    with running(command, tmp_path) as process:
        record_property("seconds until ready", round(wait_until_ready(process, site.url(name)), 2))
