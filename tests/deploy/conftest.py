"""What the tests of the packages and of the forms of installation share: one build and one empty environment."""

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
    folder = tmp_path_factory.mktemp("packages")
    sdist, wheel = build(folder / "dist")
    return Packages(sdist, wheel, install(wheel, folder / "installed"))
