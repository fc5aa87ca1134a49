"""The hosts of the technical dashboard: how much of each resource is used, how long the queue is, what goes wrong."""

from grafana.tables import Numbers
from grafana.panel import Line, Query, Section, Series

NODE = 'job="node", instance=~"$host"'
REAL = 'fstype=~"ext[234]|xfs|btrfs|zfs|nfs4?"'
EMPTY = "No host is measured"


def hosts(numbers: Numbers) -> Section:
    """Give CPU, memory, disks, network and clocks of each host."""
    return Section(140, "Hosts: utilisation, saturation, errors", (_use(numbers), _space(numbers), _trouble(numbers)))


def _use(numbers: Numbers) -> Line:
    return Line(
        8,
        (
            Series(
                id=141,
                title="CPU",
                about=f"Share of all cores that work. Dashed: the benchmark, {numbers.meant('cpu')}.",
                unit="percentunit",
                queries=(Query('instance:node_cpu_utilisation:ratio_rate5m{instance=~"$host"}', "{{instance}}"),),
                limits=(numbers.target("cpu"),),
                largest=1,
                width=6,
                empty=EMPTY,
            ),
            Series(
                id=142,
                title="Waiting for the CPU",
                about="Load of a minute for each core: above 1, processes queue.",
                unit="none",
                decimals=2,
                queries=(
                    Query(
                        f"max by (instance) (node_load1{{{NODE}}}) / "
                        f'count by (instance) (node_cpu_seconds_total{{{NODE}, mode="idle"}})',
                        "{{instance}}",
                    ),
                ),
                width=6,
                empty=EMPTY,
            ),
            Series(
                id=143,
                title="Memory",
                about="Share that is used. Dashed: the benchmark and HighMemoryUsage.",
                unit="percentunit",
                queries=(Query('instance:node_memory_utilisation:ratio{instance=~"$host"}', "{{instance}}"),),
                limits=(numbers.target("memory"), numbers.limit("HighMemoryUsage")),
                explains=("HighMemoryUsage",),
                largest=1,
                width=6,
                empty=EMPTY,
            ),
            Series(
                id=144,
                title="Processes killed for lack of memory",
                about="By the kernel, within ten minutes: HostOutOfMemoryKill tells of each.",
                unit="short",
                queries=(Query(f"increase(node_vmstat_oom_kill{{{NODE}}}[10m])", "{{instance}}"),),
                limits=(numbers.limit("HostOutOfMemoryKill"),),
                explains=("HostOutOfMemoryKill",),
                width=6,
                empty=EMPTY,
            ),
        ),
    )


def _space(numbers: Numbers) -> Line:
    return Line(
        8,
        (
            Series(
                id=145,
                title="Disks at work",
                about=f"Share of the time in which a disk has something to do. Dashed: the benchmark, {numbers.meant('disk_io')}.",
                unit="percentunit",
                queries=(
                    Query(
                        'instance_device:node_disk_io_utilisation:ratio_rate5m{instance=~"$host"}',
                        "{{device}} {{instance}}",
                    ),
                ),
                limits=(numbers.target("disk_io"),),
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
                limits=(numbers.limit("DiskSpaceCritical"),),
                explains=("DiskSpaceCritical",),
                largest=1,
                width=6,
                empty="No file system is measured",
            ),
            Series(
                id=147,
                title="Disk space in 24 hours",
                about="What is left then at the pace of the last six hours: below 0, and with less than "
                f"{numbers.limit('DiskWillFillIn24Hours').value:.0%} left now, DiskWillFillIn24Hours tells.",
                unit="bytes",
                queries=(
                    Query(
                        f"predict_linear(node_filesystem_avail_bytes{{{NODE}, {REAL}}}[6h], 24 * 3600)",
                        "{{mountpoint}} {{instance}}",
                    ),
                ),
                limits=(numbers.limit("DiskWillFillIn24Hours", 1),),
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
                        f'node_filesystem_files_free{{{NODE}, fstype=~"ext[234]|xfs"}} / '
                        f'(node_filesystem_files{{{NODE}, fstype=~"ext[234]|xfs"}} > 0)',
                        "{{mountpoint}} {{instance}}",
                    ),
                ),
                limits=(numbers.limit("InodesLow"),),
                explains=("InodesLow",),
                largest=1,
                width=6,
                empty="No file system is measured",
            ),
        ),
    )


def _trouble(numbers: Numbers) -> Line:
    devices = 'device!~"lo|veth.*|docker.*|br-.*"'
    return Line(
        8,
        (
            Series(
                id=149,
                title="Network",
                about="Received above 0, sent below.",
                unit="Bps",
                queries=(
                    Query(
                        f"sum by (instance) (rate(node_network_receive_bytes_total{{{NODE}, {devices}}}[$__rate_interval]))",
                        "received {{instance}}",
                    ),
                    Query(
                        f"-sum by (instance) (rate(node_network_transmit_bytes_total{{{NODE}, {devices}}}[$__rate_interval]))",
                        "sent {{instance}}",
                    ),
                ),
                smallest=None,
                width=6,
                empty=EMPTY,
            ),
            Series(
                id=150,
                title="Network errors",
                about="Packets a second that were damaged or dropped.",
                unit="pps",
                queries=(
                    Query(
                        f"sum by (instance) (rate(node_network_receive_errs_total{{{NODE}, {devices}}}[$__rate_interval])) + "
                        f"sum by (instance) (rate(node_network_transmit_errs_total{{{NODE}, {devices}}}[$__rate_interval]))",
                        "damaged {{instance}}",
                    ),
                    Query(
                        f"sum by (instance) (rate(node_network_receive_drop_total{{{NODE}, {devices}}}[$__rate_interval]))",
                        "dropped {{instance}}",
                    ),
                ),
                width=6,
                empty=EMPTY,
            ),
            Series(
                id=151,
                title="Clock error",
                about="How far each clock is off. Dashed: HostClockSkew, if it is not synchronised either.",
                unit="s",
                queries=(Query(f"abs(node_timex_offset_seconds{{{NODE}}})", "{{instance}}"),),
                limits=(numbers.limit("HostClockSkew"),),
                explains=("HostClockSkew",),
                width=6,
                empty=EMPTY,
            ),
            Series(
                id=152,
                title="File systems that cannot be read",
                about="1 where the node exporter cannot look in: FilesystemUnreadable tells, for DiskSpaceCritical is blind there.",
                unit="none",
                queries=(
                    Query(
                        f"max by (instance, mountpoint) (node_filesystem_device_error{{{NODE}, {REAL}}})",
                        "{{mountpoint}} {{instance}}",
                    ),
                ),
                explains=("FilesystemUnreadable",),
                width=6,
                empty="No file system is measured",
            ),
        ),
    )
