"""What the tests of the packages and of the forms of installation share: one build and one empty environment."""

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.installed import build, install


class Packages(NamedTuple):
    """The files that a release has, and the programs of an environment that the wheel was installed into."""

    sdist: Path
    wheel: Path
    programs: Path


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Build and install once for all processes that tests run in; whoever comes later waits for the first."""
    of_this_run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_this_run = of_this_run.parent
    folder = of_this_run / "packages"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            install(build(folder / "dist")[1], folder / "installed")
            (folder / "ready").touch()
    (sdist,), (wheel,) = folder.glob("dist/*.tar.gz"), folder.glob("dist/*.whl")
    return Packages(sdist, wheel, folder / "installed/bin")
