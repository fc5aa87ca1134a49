"""The real servers for the tests: found, fetched, or said to be missing in one sentence, and never half in place."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("postgres", "initdb", "redis-server", "nginx")
# Says its version as the real one would, and what it was given, with which libraries.
PROGRAM = """#!/bin/sh
echo "{name} {version}" "$@" "libraries $LD_LIBRARY_PATH"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A copy of the script below a folder of its own, so that it finds and changes nothing of this project."""
    folder = tmp_path / "a folder/deploy/local"
    folder.mkdir(parents=True)
    for path in Path("deploy/local").glob("*.py"):
        shutil.copy(path, folder)
    (tmp_path / "a folder/.stack").mkdir()
    return tmp_path / "a folder"


def run(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(words or ("-m", "deploy.local.servers"))]
    return subprocess.run(
        command, cwd=place, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def unpacked(place: Path, *versions: int) -> None:
    """Put programs where packages have them; they are made up, and only the places are real."""
    root = place / ".stack/servers/root"
    (root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    places = {"redis-server": root / "usr/bin", "nginx": root / "usr/sbin"}
    wanted = [(name, folder, 7) for name, folder in places.items()]
    wanted += [(n, root / f"usr/lib/postgresql/{v}/bin", v) for v in versions for n in ("postgres", "initdb")]
    for name, folder, version in wanted:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PROGRAM.format(name=name, version=version), "utf-8")
        (folder / name).chmod(0o755)


def test_the_newest_is_taken_and_finds_its_libraries_wherever_the_folder_is(place: Path) -> None:
    unpacked(place, 9, 15, 13)
    done = run(place, "-c", "from deploy.local import servers; servers.link({})")
    assert done.returncode == 0, done.stderr
    (place.parent / "moved").mkdir()
    moved = shutil.move(place, place.parent / "moved/elsewhere")
    for name in NAMES:
        words = [str(Path(moved) / ".stack/servers/bin" / name), "--port", "a b"]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said.startswith(f"{name} {15 if name in {'postgres', 'initdb'} else 7} --port a b libraries ")
        assert f"{moved}/.stack/servers/root/usr/lib/x86_64-linux-gnu" in said


def test_what_runs_already_is_left_alone(place: Path) -> None:
    unpacked(place, 15)
    run(place, "-c", "from deploy.local import servers; servers.link({})")
    done = run(place, PATH="/nowhere:/usr/bin:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "servers: PostgreSQL, Redis and nginx found\n", "")


def test_a_machine_that_cannot_have_them_is_one_sentence_and_no_failure(place: Path) -> None:
    done = run(place, HEYPETER_FETCH_SERVERS="1", PATH="/nowhere")
    assert done.returncode == 0
    assert done.stderr.startswith("servers: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not (place / ".stack/servers/bin").exists()


def test_packages_that_have_changed_their_places_are_named(place: Path) -> None:
    unpacked(place)
    done = run(
        place,
        "-c",
        "from deploy.local import servers\ntry: servers.link({})\nexcept servers.AptError as error: print(error)",
    )
    assert "postgres" in done.stdout
