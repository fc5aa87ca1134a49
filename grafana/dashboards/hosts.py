"""Host section of the technical dashboard: utilisation, saturation and errors."""

from grafana.panel import Line, Query, Rule, Section, Series, Target

_NODE = 'job="node", instance=~"$host"'
_REAL = 'fstype=~"ext[234]|xfs|btrfs|zfs|nfs4?"'
_WIRES = 'device!~"lo|veth.*|docker.*|br-.*"'
_NOTHING = "No data from any host"

_WORK = Line(
    8,
    (
        Series(
            id=141,
            title="CPU",
            about="Usage of all cores. Dashed: benchmark ({cpu}).",
            unit="percentunit",
            queries=(Query('instance:node_cpu_utilisation:ratio_rate5m{instance=~"$host"}', "{{instance}}"),),
            limits=(Target("cpu"),),
            largest=1,
            width=6,
            empty=_NOTHING,
        ),
        Series(
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
            width=6,
            empty=_NOTHING,
        ),
        Series(
            id=143,
            title="Memory",
            about="Share in use. Dashed: benchmark and HighMemoryUsage.",
            unit="percentunit",
            queries=(Query('instance:node_memory_utilisation:ratio{instance=~"$host"}', "{{instance}}"),),
            limits=(Target("memory"), Rule("HighMemoryUsage")),
            explains=("HighMemoryUsage",),
            largest=1,
            width=6,
            empty=_NOTHING,
        ),
        Series(
            id=144,
            title="Out-of-memory kills",
            about="Per ten minutes. HostOutOfMemoryKill fires on each.",
            unit="short",
            queries=(Query(f"increase(node_vmstat_oom_kill{{{_NODE}}}[10m])", "{{instance}}"),),
            limits=(Rule("HostOutOfMemoryKill"),),
            explains=("HostOutOfMemoryKill",),
            width=6,
            empty=_NOTHING,
        ),
    ),
)

_SPACE = Line(
    8,
    (
        Series(
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
            width=6,
            empty="No data from any disk",
        ),
        Series(
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
            width=6,
            empty="No data from any file system",
        ),
        Series(
            id=147,
            title="Free disk space in 24 hours",
            about="Predicted from the last six hours. DiskWillFillIn24Hours fires below 0 if less than "
            "{DiskWillFillIn24Hours} is free now.",
            unit="bytes",
            queries=(
                Query(
                    f"predict_linear(node_filesystem_avail_bytes{{{_NODE}, {_REAL}}}[6h], 24 * 3600)",
                    "{{mountpoint}} {{instance}}",
                ),
            ),
            limits=(Rule("DiskWillFillIn24Hours", 1),),
            explains=("DiskWillFillIn24Hours",),
            smallest=None,
            width=6,
            empty="No data from any file system",
        ),
        Series(
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
            width=6,
            empty="No data from any file system",
        ),
    ),
)

_TROUBLE = Line(
    8,
    (
        Series(
            id=149,
            title="Network",
            about="Received (positive) and sent (negative).",
            unit="Bps",
            queries=(
                Query(
                    f"sum by (instance) (rate(node_network_receive_bytes_total{{{_NODE}, "
                    f"{_WIRES}}}[$__rate_interval]))",
                    "received {{instance}}",
                ),
                Query(
                    f"-sum by (instance) (rate(node_network_transmit_bytes_total{{{_NODE}, "
                    f"{_WIRES}}}[$__rate_interval]))",
                    "sent {{instance}}",
                ),
            ),
            smallest=None,
            width=6,
            empty=_NOTHING,
        ),
        Series(
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
            width=6,
            empty=_NOTHING,
        ),
        Series(
            id=151,
            title="Clock offset",
            about="Dashed: HostClockSkew, which fires only if the clock is not synchronised.",
            unit="s",
            queries=(Query(f"abs(node_timex_offset_seconds{{{_NODE}}})", "{{instance}}"),),
            limits=(Rule("HostClockSkew"),),
            explains=("HostClockSkew",),
            width=6,
            empty=_NOTHING,
        ),
        Series(
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
            width=6,
            empty="No data from any file system",
        ),
    ),
)

HOSTS = Section(140, "Hosts: utilisation, saturation, errors", (_WORK, _SPACE, _TROUBLE))
