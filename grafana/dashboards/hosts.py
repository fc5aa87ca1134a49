"""Hosts dashboard: utilisation, saturation and errors of every machine."""

from grafana.panel import Board, Query, Rule, Section, Series, Target, lines
from rules.writing import SITE

_NODE = 'job="node", instance=~"$host"'

_REAL = 'fstype=~"ext[234]|xfs|btrfs|zfs|nfs4?"'

_WIRES = 'device!~"lo|veth.*|docker.*|br-.*"'

_NOTHING = "No data from any host"

CPU = Series(
    id=141,
    title="CPU",
    about="Usage of all cores. Dashed: benchmark ({cpu}).",
    unit="percentunit",
    queries=(Query('instance:node_cpu_utilisation:ratio_rate5m{instance=~"$host"}', "{{instance}}"),),
    limits=(Target("cpu"),),
    largest=1,
    empty=_NOTHING,
)

LOAD_PER_CORE = Series(
    id=142,
    title="Load per core",
    about="1-minute load average per core. Above 1, processes wait for the CPU.",
    unit="none",
    decimals=2,
    queries=(
        Query(
            f"max by (instance) (node_load1{{{_NODE}}}) / "
            f'count by (instance) (node_cpu_seconds_total{{{_NODE}, mode="idle"}})',
            "{{instance}}",
        ),
    ),
    empty=_NOTHING,
)

MEMORY = Series(
    id=143,
    title="Memory",
    about="Share in use. Dashed: benchmark and HighMemoryUsage.",
    unit="percentunit",
    queries=(Query('instance:node_memory_utilisation:ratio{instance=~"$host"}', "{{instance}}"),),
    limits=(Target("memory"), Rule("HighMemoryUsage")),
    explains=("HighMemoryUsage",),
    largest=1,
    empty=_NOTHING,
)

OUT_OF_MEMORY_KILLS = Series(
    id=144,
    title="Out-of-memory kills",
    about="Per ten minutes. HostOutOfMemoryKill fires on each.",
    unit="short",
    queries=(Query(f"round(increase(node_vmstat_oom_kill{{{_NODE}}}[10m]))", "{{instance}}"),),
    limits=(Rule("HostOutOfMemoryKill"),),
    explains=("HostOutOfMemoryKill",),
    empty=_NOTHING,
)

DISK_UTILISATION = Series(
    id=145,
    title="Disk utilisation",
    about="Share of time in which the disk is busy. Dashed: benchmark ({disk_io}).",
    unit="percentunit",
    queries=(
        Query(
            'instance_device:node_disk_io_utilisation:ratio_rate5m{instance=~"$host"}',
            "{{device}} {{instance}}",
        ),
    ),
    limits=(Target("disk_io"),),
    largest=1,
    empty="No data from any disk",
)

FREE_DISK_SPACE = Series(
    id=146,
    title="Free disk space",
    about="By file system, read-only ones excluded. Dashed: DiskSpaceCritical.",
    unit="percentunit",
    queries=(
        Query(
            'instance_mountpoint:node_filesystem_avail:ratio{instance=~"$host"}',
            "{{mountpoint}} {{instance}}",
        ),
    ),
    limits=(Rule("DiskSpaceCritical"),),
    explains=("DiskSpaceCritical",),
    largest=1,
    empty="No data from any file system",
)

FREE_DISK_SPACE_IN_24_HOURS = Series(
    id=147,
    title="Free disk space in 24 hours",
    about="Predicted from the last six hours. DiskWillFillIn24Hours fires below 0 if less than "
    "{DiskWillFillIn24Hours} is free now.",
    unit="bytes",
    decimals=2,
    queries=(
        Query(
            f"predict_linear(node_filesystem_avail_bytes{{{_NODE}, {_REAL}}}[6h], 24 * 3600)",
            "{{mountpoint}} {{instance}}",
        ),
    ),
    limits=(Rule("DiskWillFillIn24Hours", 1),),
    explains=("DiskWillFillIn24Hours",),
    smallest=None,
    empty="No data from any file system",
)

FREE_INODES = Series(
    id=148,
    title="Free inodes",
    about="Without free inodes, no file can be created. Dashed: InodesLow.",
    unit="percentunit",
    queries=(
        Query(
            f'node_filesystem_files_free{{{_NODE}, fstype=~"ext[234]|xfs"}} / '
            f'(node_filesystem_files{{{_NODE}, fstype=~"ext[234]|xfs"}} > 0)',
            "{{mountpoint}} {{instance}}",
        ),
    ),
    limits=(Rule("InodesLow"),),
    explains=("InodesLow",),
    largest=1,
    empty="No data from any file system",
)

NETWORK = Series(
    id=149,
    title="Network",
    about="Received (positive) and sent (negative).",
    unit="Bps",
    queries=(
        Query(
            f"sum by (instance) (rate(node_network_receive_bytes_total{{{_NODE}, {_WIRES}}}[$__rate_interval]))",
            "received {{instance}}",
        ),
        Query(
            f"-sum by (instance) (rate(node_network_transmit_bytes_total{{{_NODE}, {_WIRES}}}[$__rate_interval]))",
            "sent {{instance}}",
        ),
    ),
    smallest=None,
    empty=_NOTHING,
)

NETWORK_ERRORS = Series(
    id=150,
    title="Network errors",
    about="Corrupt and dropped packets per second.",
    unit="pps",
    queries=(
        Query(
            f"sum by (instance) (rate(node_network_receive_errs_total{{{_NODE}, "
            f"{_WIRES}}}[$__rate_interval])) + "
            f"sum by (instance) (rate(node_network_transmit_errs_total{{{_NODE}, "
            f"{_WIRES}}}[$__rate_interval]))",
            "corrupt {{instance}}",
        ),
        Query(
            f"sum by (instance) (rate(node_network_receive_drop_total{{{_NODE}, {_WIRES}}}[$__rate_interval]))",
            "dropped {{instance}}",
        ),
    ),
    empty=_NOTHING,
)

CLOCK_OFFSET = Series(
    id=151,
    title="Clock offset",
    about="Dashed: HostClockSkew, which fires only if the clock is not synchronised.",
    unit="s",
    queries=(Query(f"abs(node_timex_offset_seconds{{{_NODE}}})", "{{instance}}"),),
    limits=(Rule("HostClockSkew"),),
    explains=("HostClockSkew",),
    empty=_NOTHING,
)

UNREADABLE_FILE_SYSTEMS = Series(
    id=152,
    title="Unreadable file systems",
    about="1 if the node exporter cannot read a file system. FilesystemUnreadable fires because "
    "DiskSpaceCritical cannot.",
    unit="none",
    queries=(
        Query(
            f"max by (instance, mountpoint) (node_filesystem_device_error{{{_NODE}, {_REAL}}})",
            "{{mountpoint}} {{instance}}",
        ),
    ),
    explains=("FilesystemUnreadable",),
    empty="No data from any file system",
)


USE = Section(
    140, "CPU, memory and disks", (*lines(9, CPU, MEMORY), *lines(9, FREE_DISK_SPACE, FREE_DISK_SPACE_IN_24_HOURS))
)

FAULTS = Section(
    139,
    "Faults",
    (*lines(8, OUT_OF_MEMORY_KILLS, CLOCK_OFFSET), *lines(8, FREE_INODES, UNREADABLE_FILE_SYSTEMS)),
)

DETAILS = Section(
    138,
    "Load, disk utilisation, network",
    (*lines(9, LOAD_PER_CORE, DISK_UTILISATION), *lines(9, NETWORK, NETWORK_ERRORS)),
    folded=True,
)

BOARD = Board(
    uid=f"{SITE.prefix}-hosts",
    title=f"{SITE.name}: hosts",
    about="Is a machine overloaded, full or faulty? For the engineer on call.",
    span="now-6h",
    refresh="30s",
    variables=("host",),
    sections=(USE, FAULTS, DETAILS),
)
