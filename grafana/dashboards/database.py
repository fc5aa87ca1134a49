"""Database section of the technical dashboard."""

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
_NOTHING = "No data from PostgreSQL"

DATABASE = Section(
    100,
    "Database",
    (
        Line(
            7,
            (
                States(
                    id=101,
                    title="PostgreSQL status",
                    about="DatabaseDown fires if the server or its exporter is down.",
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
                    about="95th percentile, as seen by the application. Dashed: benchmark ({database_query}).",
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
                    empty="No queries",
                ),
                Series(
                    id=103,
                    title="Connections in use",
                    about="Share of the connections available to users, including idle ones. Dashed: "
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
                    about="Connections idle in transaction block others.",
                    unit="short",
                    queries=(Query(f"sum by (state) (pg_stat_activity_count{{{_PG}}})", "{{state}}"),),
                    stacked=True,
                    width=6,
                    empty=_NOTHING,
                ),
                Series(
                    id=105,
                    title="Oldest transaction",
                    about="Age. A long transaction holds locks and blocks vacuum. Dashed: DatabaseLongTransaction.",
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
                    title="Deadlocks",
                    about="Transactions cancelled because of a deadlock, within ten minutes. Dashed: "
                    "DatabaseDeadlocks.",
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
                    empty="No replicas",
                ),
            ),
        ),
        Line(
            7,
            (
                Series(
                    id=108,
                    title="Transactions",
                    about="Committed and rolled back, per second.",
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
                    title="Buffer cache hit rate",
                    about="Share of PostgreSQL's reads served from its own cache.",
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
                    empty="No reads",
                ),
                Series(
                    id=110,
                    title="Database size",
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
