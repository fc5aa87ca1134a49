"""Technical dashboard: one look at every area, each leading to the dashboard of that area."""

from dataclasses import replace

from grafana.dashboards import browsers, cache, database, hosts, requests, targets
from grafana.panel import Board, Panel, Section, lines
from rules.writing import SITE


def _brief(panel: Panel, title: str, uid: str) -> Panel:
    """Return a panel of another dashboard, with a link to that one; alerts lead there and not here."""
    return replace(panel, explains=(), leads_to=((title, uid),))


_REQUESTS = Section(
    1,
    "Requests",
    lines(
        9,
        *(
            _brief(panel, "Requests", requests.BOARD.uid)
            for panel in (requests.ROUTES_WITH_THE_MOST_ERRORS, requests.SLOWEST_ROUTES, requests.ERROR_BUDGET_LEFT)
        ),
        _brief(browsers.SLOWEST_PAGES, "Browsers", browsers.BOARD.uid),
    ),
)

_STORES = Section(
    100,
    "Database and cache",
    lines(
        8,
        _brief(database.QUERY_TIME, "Database", database.BOARD.uid),
        _brief(database.CONNECTIONS_IN_USE, "Database", database.BOARD.uid),
        _brief(cache.CACHE_HIT_RATE, "Cache and proxy", cache.BOARD.uid),
        _brief(cache.REDIS_MEMORY, "Cache and proxy", cache.BOARD.uid),
    ),
)

_HOSTS = Section(
    140,
    "Hosts and targets",
    (
        *lines(
            8,
            *(_brief(panel, "Hosts", hosts.BOARD.uid) for panel in (hosts.CPU, hosts.MEMORY, hosts.FREE_DISK_SPACE)),
            across=3,
        ),
        *lines(9, _brief(targets.TARGET_STATUS, "Monitoring", f"{SITE.prefix}-monitoring"), across=1),
    ),
)

BOARD = Board(
    uid=f"{SITE.prefix}-technical",
    title=f"{SITE.name}: technical",
    about="What is slow, broken or full, and where to look next? For the engineer on call.",
    span="now-6h",
    refresh="30s",
    variables=("job", "host"),
    sections=(_REQUESTS, _STORES, _HOSTS),
)
