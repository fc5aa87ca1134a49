"""The database, on the technical dashboard."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Line,
    Query,
    Rule,
    Section,
    Series,
    States,
    Target,
)

_PG = 'job="postgres"'
_NOTHING = "PostgreSQL is not measured"

# PostgreSQL, from whether it answers to what it works at.
DATABASE = Section(
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
                        Query(f"max by (instance) (pg_up{{{_PG}}})", "server {{instance}}"),
                        Query(f"max by (instance) (up{{{_PG}}})", "exporter {{instance}}"),
                    ),
                    words=ANSWERS,
                    explains=("DatabaseDown",),
                    width=8,
                    empty=_NOTHING,
                ),
                Series(
                    id=102,
                    title="Query time",
                    about="95th percentile, as the application sees it. Dashed: the benchmark, {database_query}.",
                    unit="s",
                    queries=(
                        Query(
                            quantile(
                                0.95, 'db_query_duration_seconds_bucket{job=~"$job"}', "$__rate_interval", "operation"
                            ),
                            "{{operation}}",
                        ),
                        Query('max(job:db_query_duration_seconds:p95_5m{job=~"$job"})', "all"),
                    ),
                    limits=(Target("database_query"),),
                    width=8,
                    empty="No query was counted",
                ),
                Series(
                    id=103,
                    title="Connections in use",
                    about="Of those that PostgreSQL leaves to users, idle ones included. Dashed: "
                    "HighDatabaseConnections.",
                    unit="percentunit",
                    queries=(Query("instance:pg_connections:ratio{}", "{{instance}}"),),
                    limits=(Rule("HighDatabaseConnections"),),
                    explains=("HighDatabaseConnections",),
                    largest=1,
                    width=8,
                    empty=_NOTHING,
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
                    queries=(Query(f"sum by (state) (pg_stat_activity_count{{{_PG}}})", "{{state}}"),),
                    stacked=True,
                    width=6,
                    empty=_NOTHING,
                ),
                Series(
                    id=105,
                    title="Oldest transaction",
                    about="It holds its locks and keeps vacuum from cleaning. Dashed: DatabaseLongTransaction.",
                    unit="s",
                    queries=(
                        Query(
                            f'max by (datname) (pg_stat_activity_max_tx_duration{{{_PG}, datname!~"template.*"}})',
                            "{{datname}}",
                        ),
                    ),
                    limits=(Rule("DatabaseLongTransaction"),),
                    explains=("DatabaseLongTransaction",),
                    width=6,
                    empty=_NOTHING,
                ),
                Series(
                    id=106,
                    title="Deadlocks in ten minutes",
                    about="Transactions that PostgreSQL ended to free others. Dashed: DatabaseDeadlocks.",
                    unit="short",
                    queries=(
                        Query(
                            "sum by (instance, datname) "
                            f'(increase(pg_stat_database_deadlocks{{{_PG}, datname!~"template.*|"}}[10m]))',
                            "{{datname}} {{instance}}",
                        ),
                    ),
                    limits=(Rule("DatabaseDeadlocks"),),
                    explains=("DatabaseDeadlocks",),
                    width=6,
                    empty=_NOTHING,
                ),
                Series(
                    id=107,
                    title="Replication lag",
                    about="How far each replica is behind; 0 on a primary. Dashed: DatabaseReplicationLag.",
                    unit="s",
                    queries=(Query(f"max by (instance) (pg_replication_lag_seconds{{{_PG}}})", "{{instance}}"),),
                    limits=(Rule("DatabaseReplicationLag"),),
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
                            f"sum(rate(pg_stat_database_xact_{name}{{{_PG}, "
                            'datname!~"template.*|"}[$__rate_interval]))',
                            text,
                        )
                        for name, text in (("commit", "Committed"), ("rollback", "Rolled back"))
                    ),
                    width=8,
                    empty=_NOTHING,
                ),
                Series(
                    id=109,
                    title="Pages found in memory",
                    about="PostgreSQL's own cache: the share of its reads that needed no disk.",
                    unit="percentunit",
                    queries=(
                        Query(
                            f"sum by (instance) (rate(pg_stat_database_blks_hit{{{_PG}}}[$__rate_interval])) / "
                            f"(sum by (instance) (rate(pg_stat_database_blks_hit{{{_PG}}}[$__rate_interval])) + "
                            f"sum by (instance) (rate(pg_stat_database_blks_read{{{_PG}}}[$__rate_interval])) > 0)",
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
                            f'max by (datname) (pg_database_size_bytes{{{_PG}, datname!~"template.*"}})',
                            "{{datname}}",
                        ),
                    ),
                    width=8,
                    empty=_NOTHING,
                ),
            ),
        ),
    ),
)
