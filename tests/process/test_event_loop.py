"""The event loop that --event-loop names: Python's own, uvloop's, or an error that says how to install it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from process import event_loop
from process.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]
UVLOOP = ROOT / ".stack/peers/uvloop"


async def kind() -> str:
    return type(asyncio.get_running_loop()).__module__


def test_without_a_word_the_loop_is_pythons_own() -> None:
    assert event_loop.run(kind(), "asyncio").startswith("asyncio.")


def test_a_loop_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.delitem(sys.modules, "process.uvloop_loop", raising=False)
    with pytest.raises(SettingsError, match=r"--event-loop=uvloop .*pip install 'heypeter-monitoring\[uvloop\]'"):
        event_loop.run(kind(), "uvloop")


@pytest.mark.stack
@pytest.mark.skipif(not UVLOOP.exists(), reason="uvloop is not here: make peers")
@pytest.mark.parametrize("name", ["exporter", "receiver"])
def test_both_programs_have_the_option_and_run_on_uvloop(name: str) -> None:
    code = f"""
import asyncio, sys
from {name} import __main__
async def kind(*_):
    print(type(asyncio.get_running_loop()).__module__)
    return 0
__main__.{"_serve" if name == "exporter" else "serve"} = kind
sys.exit(__main__.main(["--config.file=deploy/config/{name}.yml", "--event-loop=uvloop"]))
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": f"{ROOT}:{UVLOOP}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert done.stdout.strip() == "uvloop", done.stderr


def test_what_is_there_when_all_is_set_up_is_never_looked_through_again() -> None:
    code = """
import gc
from process.event_loop import collect_rarely
collect_rarely()
print(gc.get_freeze_count() > 1000, gc.get_threshold()[0], gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "10000", "True"]
