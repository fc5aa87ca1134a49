"""Which store each of the receiver's tests runs on: see tests/receiver/stores.py."""

from collections.abc import Iterator

import pytest

from tests.receiver import stores

_BOTH = "tests/receiver/store/"
_SHORT = (
    "receiver.app.PATIENCE",
    "receiver.evidence.charts.PATIENCE",
    "receiver.evidence.deployments._PATIENCE",
    "receiver.web.slack_people._PATIENCE",
    "receiver.clients.pagerduty_lookup._PATIENCE",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the store on both, but for those that are marked as of one of them."""
    kinds = {stores.DEFAULT}
    if stores.DEFAULT == stores.SQLITE and _BOTH in metafunc.definition.nodeid:
        kinds |= {stores.POSTGRES}
    if metafunc.definition.get_closest_marker("postgres"):
        kinds = {stores.POSTGRES}
    elif metafunc.definition.get_closest_marker("sqlite"):
        kinds = {stores.DEFAULT}
    metafunc.parametrize("store_kind", [_parameter(kind) for kind in sorted(kinds, reverse=True)], indirect=True)


def _parameter(kind: str) -> object:
    if kind == stores.SQLITE:
        return pytest.param(kind)
    missing = pytest.mark.skipif(not stores.has_server(), reason=stores.NO_SERVER)
    return pytest.param(kind, marks=[pytest.mark.stack, missing])


@pytest.fixture(autouse=True)
def store_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """Say on which store the test runs."""
    kind, of_sqlite = str(request.param), request.node.get_closest_marker("sqlite")
    if kind == stores.POSTGRES and of_sqlite:
        pytest.skip(f"of SQLite: {of_sqlite.args[0]}")
    with stores.using(kind):
        yield kind


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than a second or two for others, who share a busy machine; tests of the waiting set their own."""
    for short in _SHORT:
        monkeypatch.setattr(short, 30.0)
