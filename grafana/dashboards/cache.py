"""Cache dashboard: Redis, the application's caches, and nginx."""

from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Board,
    Query,
    Rule,
    Section,
    Series,
    States,
    lines,
)
from rules.writing import SITE

_NO_REDIS = "No data from Redis"

_NO_NGINX = "No data from nginx"

_USED = 'redis_memory_used_bytes{job="redis"}'

_ACCEPTED, _HANDLED = (
    f'sum by (instance) (rate(nginx_connections_{name}{{job="nginx"}}[5m]))' for name in ("accepted", "handled")
)

REDIS_STATUS = States(
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
    empty=_NO_REDIS,
)

CACHE_HIT_RATE = Series(
    id=122,
    title="Cache hit rate",
    about="Redis, over five minutes. Dashed: CacheHitRateLow.",
    unit="percentunit",
    queries=(Query("instance:redis_keyspace_hits:ratio_rate5m{}", "{{instance}}"),),
    limits=(Rule("CacheHitRateLow"),),
    explains=("CacheHitRateLow",),
    largest=1,
    empty="No lookups",
)

HIT_RATE_BY_CACHE = Series(
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
    empty="No lookups",
)

REDIS_MEMORY = Series(
    id=124,
    title="Redis memory",
    about="Share of maxmemory in use; empty if maxmemory is not set. Dashed: RedisMemoryHigh.",
    unit="percentunit",
    queries=(Query(f'{_USED} / (redis_memory_max_bytes{{job="redis"}} > 0)', "{{instance}}"),),
    limits=(Rule("RedisMemoryHigh"),),
    explains=("RedisMemoryHigh",),
    largest=1,
    empty="maxmemory is not set",
)

REJECTED_REDIS_CONNECTIONS = Series(
    id=125,
    title="Rejected Redis connections",
    about="Within five minutes. RedisRejectsConnections fires when maxclients is reached.",
    unit="short",
    queries=(
        Query(
            'round(sum by (instance) (increase(redis_rejected_connections_total{job="redis"}[5m])))',
            "{{instance}}",
        ),
    ),
    limits=(Rule("RedisRejectsConnections"),),
    explains=("RedisRejectsConnections",),
    empty=_NO_REDIS,
)

NGINX_STATUS = States(
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
    empty=_NO_NGINX,
)

DROPPED_NGINX_CONNECTIONS = Series(
    id=127,
    title="Dropped nginx connections",
    about="Accepted but not handled, per second. Dashed: NginxDroppedConnections.",
    unit="cps",
    queries=(Query(f"{_ACCEPTED} - {_HANDLED}", "{{instance}}"),),
    limits=(Rule("NginxDroppedConnections"),),
    explains=("NginxDroppedConnections",),
    empty=_NO_NGINX,
)

NGINX_CONNECTIONS = Series(
    id=128,
    title="nginx connections",
    about="By state. Waiting connections are idle keep-alive connections.",
    unit="short",
    queries=tuple(
        Query(f'sum(nginx_connections_{name}{{job="nginx"}})', name) for name in ("reading", "writing", "waiting")
    ),
    stacked=True,
    empty=_NO_NGINX,
)


REDIS = Section(
    120,
    "Redis",
    (*lines(8, REDIS_STATUS, CACHE_HIT_RATE), *lines(8, REDIS_MEMORY, REJECTED_REDIS_CONNECTIONS)),
)

NGINX = Section(119, "nginx", lines(8, NGINX_STATUS, DROPPED_NGINX_CONNECTIONS))

DETAILS = Section(118, "Hit rates, nginx connections", lines(8, HIT_RATE_BY_CACHE, NGINX_CONNECTIONS), folded=True)

BOARD = Board(
    uid=f"{SITE.prefix}-cache",
    title=f"{SITE.name}: cache and proxy",
    about="Do Redis and nginx answer, and do the caches help? For the engineer on call.",
    span="now-6h",
    refresh="30s",
    variables=("job",),
    sections=(REDIS, NGINX, DETAILS),
)
