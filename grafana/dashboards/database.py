"""Database dashboard: PostgreSQL as it sees itself, and as the application sees it."""

from grafana.dashboards.duration import quantile
from grafana.dashboards.states import ANSWERS
from grafana.panel import (
    Board,
    Query,
    Rule,
    Section,
    Series,
    States,
    Target,
    lines,
)
from rules.writing import SITE

_PG = 'job="postgres"'

_NOTHING = "No data from PostgreSQL"

POSTGRESQL_STATUS = States(
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
    empty=_NOTHING,
)

QUERY_TIME = Series(
    id=102,
    title="Query time",
    about="95th percentile, as seen by the application. Dashed: benchmark ({database_query}).",
    unit="s",
    queries=(
        Query(
            quantile(0.95, 'db_query_duration_seconds_bucket{job=~"$job"}', "$__rate_interval", "operation"),
            "{{operation}}",
        ),
        Query('max(job:db_query_duration_seconds:p95_5m{job=~"$job"})', "all"),
    ),
    limits=(Target("database_query"),),
    empty="No queries",
)

CONNECTIONS_IN_USE = Series(
    id=103,
    title="Connections in use",
    about="Share of the connections available to users, including idle ones. Dashed: HighDatabaseConnections.",
    unit="percentunit",
    queries=(Query("instance:pg_connections:ratio{}", "{{instance}}"),),
    limits=(Rule("HighDatabaseConnections"),),
    explains=("HighDatabaseConnections",),
    largest=1,
    empty=_NOTHING,
)

CONNECTIONS_BY_STATE = Series(
    id=104,
    title="Connections by state",
    about="Connections idle in transaction block others.",
    unit="short",
    queries=(Query(f"sum by (state) (pg_stat_activity_count{{{_PG}}})", "{{state}}"),),
    stacked=True,
    empty=_NOTHING,
)

OLDEST_TRANSACTION = Series(
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
    empty=_NOTHING,
)

DEADLOCKS = Series(
    id=106,
    title="Deadlocks",
    about="Transactions cancelled because of a deadlock, within ten minutes. Dashed: DatabaseDeadlocks.",
    unit="short",
    queries=(
        Query(
            "round(sum by (instance, datname) "
            f'(increase(pg_stat_database_deadlocks{{{_PG}, datname!~"template.*|"}}[10m])))',
            "{{datname}} {{instance}}",
        ),
    ),
    limits=(Rule("DatabaseDeadlocks"),),
    explains=("DatabaseDeadlocks",),
    empty=_NOTHING,
)

REPLICATION_LAG = Series(
    id=107,
    title="Replication lag",
    about="How far each replica is behind; 0 on a primary. Dashed: DatabaseReplicationLag.",
    unit="s",
    queries=(Query(f"max by (instance) (pg_replication_lag_seconds{{{_PG}}})", "{{instance}}"),),
    limits=(Rule("DatabaseReplicationLag"),),
    explains=("DatabaseReplicationLag",),
    empty="No replicas",
)

TRANSACTIONS = Series(
    id=108,
    title="Transactions",
    about="Committed and rolled back, per second.",
    unit="ops",
    queries=tuple(
        Query(
            f'sum(rate(pg_stat_database_xact_{name}{{{_PG}, datname!~"template.*|"}}[$__rate_interval]))',
            text,
        )
        for name, text in (("commit", "Committed"), ("rollback", "Rolled back"))
    ),
    empty=_NOTHING,
)

BUFFER_CACHE_HIT_RATE = Series(
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
    empty="No reads",
)

DATABASE_SIZE = Series(
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
    empty=_NOTHING,
)


DATABASE = Section(
    100,
    "Up, fast and with room",
    (*lines(8, POSTGRESQL_STATUS, CONNECTIONS_IN_USE), *lines(9, QUERY_TIME, OLDEST_TRANSACTION)),
)

FAULTS = Section(99, "Deadlocks and replication", lines(8, DEADLOCKS, REPLICATION_LAG))

DETAILS = Section(
    98,
    "Connections, transactions, size",
    (*lines(8, CONNECTIONS_BY_STATE, TRANSACTIONS), *lines(8, BUFFER_CACHE_HIT_RATE, DATABASE_SIZE)),
    folded=True,
)

BOARD = Board(
    uid=f"{SITE.prefix}-database",
    title=f"{SITE.name}: database",
    about="Is the database up, fast and far from its limits? For the engineer on call.",
    span="now-6h",
    refresh="30s",
    variables=("job",),
    sections=(DATABASE, FAULTS, DETAILS),
)
