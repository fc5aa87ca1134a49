"""The database, Redis and nginx of the technical dashboard."""

from grafana.tables import Numbers
from grafana.panel import Line, Query, Section, Series, States, Word

PG = 'job="postgres"'
ANSWERS = (Word("1", "answers", "green"), Word("0", "does not", "red"))
NO_POSTGRES = "PostgreSQL is not measured"
NO_REDIS = "Redis is not measured"
NO_NGINX = "nginx is not measured"


def database(numbers: Numbers) -> Section:
    """Give PostgreSQL, from whether it answers to what it works at."""
    return Section(
        100,
        "Database",
        (
            Line(
                7,
                (
                    States(
                        id=101,
                        title="Does PostgreSQL answer?",
                        about="DatabaseDown tells when it does not, or when its exporter does not.",
                        unit="none",
                        queries=(
                            Query(f"max by (instance) (pg_up{{{PG}}})", "PostgreSQL {{instance}}"),
                            Query(f"max by (instance) (up{{{PG}}})", "exporter {{instance}}"),
                        ),
                        words=ANSWERS,
                        explains=("DatabaseDown",),
                        width=8,
                        empty=NO_POSTGRES,
                    ),
                    Series(
                        id=102,
                        title="Query time",
                        about=f"95th percentile, as the application sees it. Dashed: the benchmark, {numbers.meant('database_query')}.",
                        unit="s",
                        queries=(
                            Query(
                                'histogram_quantile(0.95, sum by (operation, le) (rate(db_query_duration_seconds_bucket{job=~"$job"}[$__rate_interval])))',
                                "{{operation}}",
                            ),
                            Query('max(job:db_query_duration_seconds:p95_5m{job=~"$job"})', "all"),
                        ),
                        limits=(numbers.target("database_query"),),
                        width=8,
                        empty="No query was counted",
                    ),
                    Series(
                        id=103,
                        title="Connections in use",
                        about="Of those that PostgreSQL leaves to users, idle ones included. Dashed: HighDatabaseConnections.",
                        unit="percentunit",
                        queries=(Query("instance:pg_connections:ratio{}", "{{instance}}"),),
                        limits=(numbers.limit("HighDatabaseConnections"),),
                        explains=("HighDatabaseConnections",),
                        largest=1,
                        width=8,
                        empty=NO_POSTGRES,
                    ),
                ),
            ),
            Line(
                7,
                (
                    Series(
                        id=104,
                        title="Connections by state",
                        about="Idle in transaction is the state that blocks others.",
                        unit="short",
                        queries=(Query(f"sum by (state) (pg_stat_activity_count{{{PG}}})", "{{state}}"),),
                        stacked=True,
                        width=6,
                        empty=NO_POSTGRES,
                    ),
                    Series(
                        id=105,
                        title="Oldest transaction",
                        about="It holds its locks and keeps vacuum from cleaning. Dashed: DatabaseLongTransaction.",
                        unit="s",
                        queries=(
                            Query(
                                f'max by (datname) (pg_stat_activity_max_tx_duration{{{PG}, datname!~"template.*"}})',
                                "{{datname}}",
                            ),
                        ),
                        limits=(numbers.limit("DatabaseLongTransaction"),),
                        explains=("DatabaseLongTransaction",),
                        width=6,
                        empty=NO_POSTGRES,
                    ),
                    Series(
                        id=106,
                        title="Deadlocks in ten minutes",
                        about="Transactions that PostgreSQL ended to free others. Dashed: DatabaseDeadlocks.",
                        unit="short",
                        queries=(
                            Query(
                                f'sum by (instance, datname) (increase(pg_stat_database_deadlocks{{{PG}, datname!~"template.*|"}}[10m]))',
                                "{{datname}} {{instance}}",
                            ),
                        ),
                        limits=(numbers.limit("DatabaseDeadlocks"),),
                        explains=("DatabaseDeadlocks",),
                        width=6,
                        empty=NO_POSTGRES,
                    ),
                    Series(
                        id=107,
                        title="Replication lag",
                        about="How far each replica is behind; 0 on a primary. Dashed: DatabaseReplicationLag.",
                        unit="s",
                        queries=(Query(f"max by (instance) (pg_replication_lag_seconds{{{PG}}})", "{{instance}}"),),
                        limits=(numbers.limit("DatabaseReplicationLag"),),
                        explains=("DatabaseReplicationLag",),
                        width=6,
                        empty="No replica is measured",
                    ),
                ),
            ),
            Line(
                7,
                (
                    Series(
                        id=108,
                        title="Transactions",
                        about="Committed and rolled back, a second.",
                        unit="ops",
                        queries=tuple(
                            Query(
                                f'sum(rate(pg_stat_database_xact_{name}{{{PG}, datname!~"template.*|"}}[$__rate_interval]))',
                                text,
                            )
                            for name, text in (("commit", "Committed"), ("rollback", "Rolled back"))
                        ),
                        width=8,
                        empty=NO_POSTGRES,
                    ),
                    Series(
                        id=109,
                        title="Pages found in memory",
                        about="PostgreSQL's own cache: the share of its reads that needed no disk.",
                        unit="percentunit",
                        queries=(
                            Query(
                                f"sum by (instance) (rate(pg_stat_database_blks_hit{{{PG}}}[$__rate_interval])) / "
                                f"(sum by (instance) (rate(pg_stat_database_blks_hit{{{PG}}}[$__rate_interval])) + "
                                f"sum by (instance) (rate(pg_stat_database_blks_read{{{PG}}}[$__rate_interval])) > 0)",
                                "{{instance}}",
                            ),
                        ),
                        largest=1,
                        width=8,
                        empty="Nothing was read",
                    ),
                    Series(
                        id=110,
                        title="Size of the databases",
                        about="On disk.",
                        unit="bytes",
                        queries=(
                            Query(
                                f'max by (datname) (pg_database_size_bytes{{{PG}, datname!~"template.*"}})',
                                "{{datname}}",
                            ),
                        ),
                        width=8,
                        empty=NO_POSTGRES,
                    ),
                ),
            ),
        ),
    )


def cache(numbers: Numbers) -> Section:
    """Give Redis, the application's caches, and nginx."""
    used = 'redis_memory_used_bytes{job="redis"}'
    accepted, handled = (
        f'sum by (instance) (rate(nginx_connections_{name}{{job="nginx"}}[5m]))' for name in ("accepted", "handled")
    )
    return Section(
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
                            Query('max by (instance) (redis_up{job="redis"})', "Redis {{instance}}"),
                            Query('max by (instance) (up{job="redis"})', "exporter {{instance}}"),
                        ),
                        words=ANSWERS,
                        explains=("RedisDown",),
                        width=6,
                        empty=NO_REDIS,
                    ),
                    Series(
                        id=122,
                        title="Cache hit rate",
                        about="Of Redis, over five minutes. Dashed: CacheHitRateLow.",
                        unit="percentunit",
                        queries=(Query("instance:redis_keyspace_hits:ratio_rate5m{}", "{{instance}}"),),
                        limits=(numbers.limit("CacheHitRateLow"),),
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
                                'sum by (cache) (rate(cache_requests_total{job=~"$job", result="hit"}[$__rate_interval])) / '
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
                        queries=(Query(f'{used} / (redis_memory_max_bytes{{job="redis"}} > 0)', "{{instance}}"),),
                        limits=(numbers.limit("RedisMemoryHigh"),),
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
                        limits=(numbers.limit("RedisRejectsConnections"),),
                        explains=("RedisRejectsConnections",),
                        width=6,
                        empty=NO_REDIS,
                    ),
                    States(
                        id=126,
                        title="Does nginx answer?",
                        about="NginxDown tells when its status page does not, or when its exporter does not.",
                        unit="none",
                        queries=(
                            Query('max by (instance) (nginx_up{job="nginx"})', "nginx {{instance}}"),
                            Query('max by (instance) (up{job="nginx"})', "exporter {{instance}}"),
                        ),
                        words=ANSWERS,
                        explains=("NginxDown",),
                        width=6,
                        empty=NO_NGINX,
                    ),
                    Series(
                        id=127,
                        title="Connections that nginx drops",
                        about="Accepted and not handled, a second. Dashed: NginxDroppedConnections.",
                        unit="cps",
                        queries=(Query(f"{accepted} - {handled}", "{{instance}}"),),
                        limits=(numbers.limit("NginxDroppedConnections"),),
                        explains=("NginxDroppedConnections",),
                        width=6,
                        empty=NO_NGINX,
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
                        empty=NO_NGINX,
                    ),
                ),
            ),
        ),
    )
