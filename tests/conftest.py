"""What holds for every test: no property is judged by the clock, for machines are shared and slow at times."""

import os

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.chromium import chromium_path
from deploy.local.node import node_folder

settings.register_profile("shared-machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machines")
# Playwright's own node wants a library (libatomic) that a minimal system lacks; that of the locked packages does not.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node_folder() / "node"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the browser tests out where there is no Chromium and none could be fetched; `make browser` says why."""
    if chromium_path() is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="no Chromium here: see make browser"))
