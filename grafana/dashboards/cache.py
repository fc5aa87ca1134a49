"""Cache section of the technical dashboard: Redis, the application's caches and nginx."""

from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
)

_NO_REDIS = "No data from Redis"
_NO_NGINX = "No data from nginx"

_USED = 'redis_memory_used_bytes{job="redis"}'

_ACCEPTED, _HANDLED = (
    f'sum by (instance) (rate(nginx_connections_{name}{{job="nginx"}}[5m]))' for name in ("accepted", "handled")
)

CACHE = Section(
    120,
    "Cache and proxy",
    (
        Line(
            7,
            (
                States(
                    id=121,
                    title="Redis status",
                    about="RedisDown fires if the server or its exporter is down.",
                    unit="none",
                    queries=(
                        Query('max by (instance) (redis_up{job="redis"})', "server {{instance}}"),
                        Query('max by (instance) (up{job="redis"})', "exporter {{instance}}"),
                    ),
                    words=ANSWERS,
                    explains=("RedisDown",),
                    width=6,
                    empty=_NO_REDIS,
                ),
                Series(
                    id=122,
                    title="Cache hit rate",
                    about="Redis, over five minutes. Dashed: CacheHitRateLow.",
                    unit="percentunit",
                    queries=(Query("instance:redis_keyspace_hits:ratio_rate5m{}", "{{instance}}"),),
                    limits=(Rule("CacheHitRateLow"),),
                    explains=("CacheHitRateLow",),
                    largest=1,
                    width=6,
                    empty="No lookups",
                ),
                Series(
                    id=123,
                    title="Hit rate by cache",
                    about="As counted by the application.",
                    unit="percentunit",
                    queries=(
                        Query(
                            'sum by (cache) (rate(cache_requests_total{job=~"$job", result="hit"}[$__rate_interval])) '
                            "/ "
                            '(sum by (cache) (rate(cache_requests_total{job=~"$job"}[$__rate_interval])) > 0)',
                            "{{cache}}",
                        ),
                    ),
                    largest=1,
                    width=6,
                    empty="No lookups",
                ),
                Series(
                    id=124,
                    title="Redis memory",
                    about="Share of maxmemory in use; empty if maxmemory is not set. Dashed: RedisMemoryHigh.",
                    unit="percentunit",
                    queries=(Query(f'{_USED} / (redis_memory_max_bytes{{job="redis"}} > 0)', "{{instance}}"),),
                    limits=(Rule("RedisMemoryHigh"),),
                    explains=("RedisMemoryHigh",),
                    largest=1,
                    width=6,
                    empty="maxmemory is not set",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=125,
                    title="Rejected Redis connections",
                    about="Within five minutes. RedisRejectsConnections fires when maxclients is reached.",
                    unit="short",
                    queries=(
                        Query(
                            'sum by (instance) (increase(redis_rejected_connections_total{job="redis"}[5m]))',
                            "{{instance}}",
                        ),
                    ),
                    limits=(Rule("RedisRejectsConnections"),),
                    explains=("RedisRejectsConnections",),
                    width=6,
                    empty=_NO_REDIS,
                ),
                States(
                    id=126,
                    title="nginx status",
                    about="NginxDown fires if the status page or the exporter is down.",
                    unit="none",
                    queries=(
                        Query('max by (instance) (nginx_up{job="nginx"})', "server {{instance}}"),
                        Query('max by (instance) (up{job="nginx"})', "exporter {{instance}}"),
                    ),
                    words=ANSWERS,
                    explains=("NginxDown",),
                    width=6,
                    empty=_NO_NGINX,
                ),
                Series(
                    id=127,
                    title="Dropped nginx connections",
                    about="Accepted but not handled, per second. Dashed: NginxDroppedConnections.",
                    unit="cps",
                    queries=(Query(f"{_ACCEPTED} - {_HANDLED}", "{{instance}}"),),
                    limits=(Rule("NginxDroppedConnections"),),
                    explains=("NginxDroppedConnections",),
                    width=6,
                    empty=_NO_NGINX,
                ),
                Series(
                    id=128,
                    title="nginx connections",
                    about="By state. Waiting connections are idle keep-alive connections.",
                    unit="short",
                    queries=tuple(
                        Query(f'sum(nginx_connections_{name}{{job="nginx"}})', name)
                        for name in ("reading", "writing", "waiting")
                    ),
                    stacked=True,
                    width=6,
                    empty=_NO_NGINX,
                ),
            ),
        ),
    ),
)
