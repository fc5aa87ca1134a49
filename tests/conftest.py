"""Settings for all tests: the examples of property tests, and the order in which tests begin."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.chromium import chromium_path
from deploy.local.node import node_folder

# No property test has a deadline, because machines are shared and slow at times. `make test` tries the same examples
# each time, so that it fails for what was changed; `make test-slow` looks for new ones.
_SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("few", _SHARED, max_examples=50, derandomize=True)
settings.register_profile("many", _SHARED, max_examples=400)
settings.load_profile("few")
# Playwright's own node needs libatomic, which a minimal system lacks; the node of the locked packages does not.
os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node_folder() / "node"))
# aiohttp and httpx read the machine's file of trusted authorities when they are imported: a tenth of the time in which
# our programs start. No test calls a server of the world, and OpenSSL still knows the folder beside that file.
os.environ["SSL_CERT_FILE"] = os.devnull
gc.disable()  # nothing is garbage while tests are collected: a tenth of the time; see pytest_collection_finish

FIRST = ("story", "stack", "browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: the stories, which mostly wait, then all else that runs the real programs.

    Skip the browser tests where there is no Chromium; `make browser` says why.
    """
    items.sort(key=_place)
    if chromium_path() is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="no Chromium: run make browser"))


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over thousands of tests and modules: a fifth of the time of our tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


def _place(item: pytest.Item) -> int:
    # Python 3.11.2 may fail to parse after a deep recursion in an earlier test (python/cpython#106905).
    if item.path.name == "test_architecture.py":
        return -1
    return next((place for place, mark in enumerate(FIRST) if item.get_closest_marker(mark)), len(FIRST))
