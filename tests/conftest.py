"""Settings for all tests: no property test has a deadline, because machines are shared and slow at times."""

import os

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.chromium import chromium_path
from deploy.local.node import node_folder

settings.register_profile("shared-machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machines")
# Playwright's own node needs libatomic, which a minimal system lacks; the node of the locked packages does not.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node_folder() / "node"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what runs the real programs, for it takes longest and mostly waits.

    Skip the browser tests where there is no Chromium; `make browser` says why.
    """
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)
    if chromium_path() is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="no Chromium: run make browser"))
