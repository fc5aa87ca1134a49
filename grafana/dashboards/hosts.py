"""The hosts, on the technical dashboard: how much of each resource is used, how long the queue is, what goes wrong."""

from grafana.panel import Line, Query, Rule, Section, Series, Target

_NODE = 'job="node", instance=~"$host"'
_REAL = 'fstype=~"ext[234]|xfs|btrfs|zfs|nfs4?"'
_WIRES = 'device!~"lo|veth.*|docker.*|br-.*"'
_NOTHING = "No host is measured"

_WORK = Line(
    8,
    (
        Series(
            id=141,
            title="CPU",
            about="Share of all cores that work. Dashed: the benchmark, {cpu}.",
            unit="percentunit",
            queries=(Query('instance:node_cpu_utilisation:ratio_rate5m{instance=~"$host"}', "{{instance}}"),),
            limits=(Target("cpu"),),
            largest=1,
            width=6,
            empty=_NOTHING,
        ),
        Series(
            id=142,
            title="Waiting for the CPU",
            about="Load of a minute for each core: above 1, processes queue.",
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
            about="Share that is used. Dashed: the benchmark and HighMemoryUsage.",
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
            title="Processes killed for lack of memory",
            about="By the kernel, within ten minutes: HostOutOfMemoryKill tells of each.",
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
            title="Disks at work",
            about="Share of the time in which a disk has something to do. Dashed: the benchmark, {disk_io}.",
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
            empty="No disk is measured",
        ),
        Series(
            id=146,
            title="Disk space left",
            about="Of each file system that can fill up. Dashed: DiskSpaceCritical.",
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
            empty="No file system is measured",
        ),
        Series(
            id=147,
            title="Disk space in 24 hours",
            about="What is left then at the pace of the last six hours: below 0, and with less than "
            "{DiskWillFillIn24Hours} left now, DiskWillFillIn24Hours tells.",
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
            empty="No file system is measured",
        ),
        Series(
            id=148,
            title="Inodes left",
            about="Without one no file can be made, however much space there is. Dashed: InodesLow.",
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
            empty="No file system is measured",
        ),
    ),
)

_TROUBLE = Line(
    8,
    (
        Series(
            id=149,
            title="Network",
            about="Received above 0, sent below.",
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
            about="Packets a second that were damaged or dropped.",
            unit="pps",
            queries=(
                Query(
                    f"sum by (instance) (rate(node_network_receive_errs_total{{{_NODE}, "
                    f"{_WIRES}}}[$__rate_interval])) + "
                    f"sum by (instance) (rate(node_network_transmit_errs_total{{{_NODE}, "
                    f"{_WIRES}}}[$__rate_interval]))",
                    "damaged {{instance}}",
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
            title="Clock error",
            about="How far each clock is off. Dashed: HostClockSkew, if it is not synchronised either.",
            unit="s",
            queries=(Query(f"abs(node_timex_offset_seconds{{{_NODE}}})", "{{instance}}"),),
            limits=(Rule("HostClockSkew"),),
            explains=("HostClockSkew",),
            width=6,
            empty=_NOTHING,
        ),
        Series(
            id=152,
            title="File systems that cannot be read",
            about="1 where the node exporter cannot look in: FilesystemUnreadable tells, for "
            "DiskSpaceCritical is blind there.",
            unit="none",
            queries=(
                Query(
                    f"max by (instance, mountpoint) (node_filesystem_device_error{{{_NODE}, {_REAL}}})",
                    "{{mountpoint}} {{instance}}",
                ),
            ),
            explains=("FilesystemUnreadable",),
            width=6,
            empty="No file system is measured",
        ),
    ),
)

HOSTS = Section(140, "Hosts: utilisation, saturation, errors", (_WORK, _SPACE, _TROUBLE))
