"""Redis, the caches of the application and nginx, on the technical dashboard."""

from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
)

_NO_REDIS = "Redis is not measured"
_NO_NGINX = "nginx is not measured"

_USED = 'redis_memory_used_bytes{job="redis"}'

_ACCEPTED, _HANDLED = (
    f'sum by (instance) (rate(nginx_connections_{name}{{job="nginx"}}[5m]))' for name in ("accepted", "handled")
)

# Redis, the application's caches, and nginx.
CACHE = Section(
    120,
    "Cache and proxy",
    (
        Line(
            7,
            (
                States(
                    id=121,
                    title="Does Redis answer?",
                    about="RedisDown tells when it does not, or when its exporter does not.",
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
                    about="Of Redis, over five minutes. Dashed: CacheHitRateLow.",
                    unit="percentunit",
                    queries=(Query("instance:redis_keyspace_hits:ratio_rate5m{}", "{{instance}}"),),
                    limits=(Rule("CacheHitRateLow"),),
                    explains=("CacheHitRateLow",),
                    largest=1,
                    width=6,
                    empty="Nothing was looked up",
                ),
                Series(
                    id=123,
                    title="Hit rate of each cache",
                    about="As the application counts it.",
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
                    empty="Nothing was looked up",
                ),
                Series(
                    id=124,
                    title="Memory of Redis",
                    about="Share of its maxmemory; without one there is no share. Dashed: RedisMemoryHigh.",
                    unit="percentunit",
                    queries=(Query(f'{_USED} / (redis_memory_max_bytes{{job="redis"}} > 0)', "{{instance}}"),),
                    limits=(Rule("RedisMemoryHigh"),),
                    explains=("RedisMemoryHigh",),
                    largest=1,
                    width=6,
                    empty="Redis has no maxmemory",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=125,
                    title="Connections that Redis turned away",
                    about="Within five minutes: maxclients is reached, and RedisRejectsConnections tells.",
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
                    title="Does nginx answer?",
                    about="NginxDown tells when its status page does not, or when its exporter does not.",
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
                    title="Connections that nginx drops",
                    about="Accepted and not handled, a second. Dashed: NginxDroppedConnections.",
                    unit="cps",
                    queries=(Query(f"{_ACCEPTED} - {_HANDLED}", "{{instance}}"),),
                    limits=(Rule("NginxDroppedConnections"),),
                    explains=("NginxDroppedConnections",),
                    width=6,
                    empty=_NO_NGINX,
                ),
                Series(
                    id=128,
                    title="Connections of nginx",
                    about="What they do now: waiting ones are kept alive.",
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
