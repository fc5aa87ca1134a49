"""What the exporters of hosts, stores, web server and site would have shown, and the monitoring of itself."""

from collections.abc import Iterator, Mapping

from deploy.simulation.blocks import series
from deploy.simulation.counters import Counters, Samples
from deploy.simulation.time_axis import DAY, Axis

GIB = 1024.0**3
HOSTS = {"web-1:9100": 1.0, "web-2:9100": 0.8}
POSTGRES = {"job": "postgres", "instance": "localhost:9187"}
REDIS = {"job": "redis", "instance": "localhost:9121"}
NGINX = {"job": "nginx", "instance": "localhost:9113"}
SITE = {"job": "blackbox-http", "instance": "https://heypeteracademy.com"}
TARGETS = {
    "host": ("node", "web-2:9100"),
    "other host": ("node", "web-1:9100"),
    "exporter": ("heypeter-app", "localhost:3001"),
    "postgres": ("postgres", "localhost:9187"),
    "redis": ("redis", "localhost:9121"),
    "nginx": ("nginx", "localhost:9113"),
    "site": ("blackbox-http", "https://heypeteracademy.com"),
    "prometheus": ("prometheus", "localhost:9090"),
    "alertmanager": ("alertmanager", "localhost:9093"),
    "receiver": ("receiver", "localhost:9095"),
}


class Machines:
    """Each method gives the samples of one exporter over a stretch of time."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def shown(self, axis: Axis) -> Iterator[Samples]:
        """Give all of them."""
        for host, weight in HOSTS.items():
            yield from self._host({"job": "node", "instance": host}, weight, axis)
        yield from self._postgres(axis)
        yield from self._redis(axis)
        yield from self._nginx(axis)
        yield from self._site(axis)

    def _grow(self, name: str, labels: Mapping[str, str], each: list[float], whole: float = 1.0) -> Samples:
        return self._counters.counter(name, labels, each, whole)

    def _host(self, target: dict[str, str], weight: float, axis: Axis) -> Iterator[Samples]:
        busy = axis.wave(f"cpu {target['instance']}", 0.08, 0.16 * weight, 0.02)
        for cpu in ("0", "1"):
            modes = {"user": 0.7, "system": 0.25, "iowait": 0.04, "softirq": 0.05}
            for mode, part in modes.items():
                each = [min(0.97, use) * part * axis.step for use in busy]
                yield self._grow("node_cpu_seconds_total", {**target, "cpu": cpu, "mode": mode}, each, 0)
            idle = [(1 - min(0.97, use) * 1.04) * axis.step for use in busy]
            yield self._grow("node_cpu_seconds_total", {**target, "cpu": cpu, "mode": "idle"}, idle, 0)
        total = 16 * GIB
        used = axis.wave(f"memory {target['instance']}", 0.5 + 0.06 * weight, 0.06, 0.008)
        yield series("node_memory_MemTotal_bytes", target), [total] * axis.count
        yield series("node_memory_MemAvailable_bytes", target), [round(total * (1 - part)) for part in used]
        disk = {**target, "device": "vda"}
        each = [min(0.9, use * 0.9) * axis.step for use in axis.wave(f"disk {target['instance']}", 0.03, 0.13, 0.02)]
        yield self._grow("node_disk_io_time_seconds_total", disk, each, 0)
        for way, rate in (("read", 4e9), ("written", 1.5e10)):
            yield self._grow(f"node_disk_{way}_bytes_total", disk, axis.events(f"{way}{target}", rate))
        for way, rate in (("receive", 9e10), ("transmit", 3e11)):
            names = {**target, "device": "eth0"}
            yield self._grow(f"node_network_{way}_bytes_total", names, axis.events(f"{way}{target}", rate))
            for fault in ("errs", "drop"):
                yield self._grow(f"node_network_{way}_{fault}_total", names, axis.events(f"{fault}{way}", 2))
        yield from self._file_system(target, axis)
        yield from _small(target, axis, weight)

    def _file_system(self, target: dict[str, str], axis: Axis) -> Iterator[Samples]:
        labels = {**target, "device": "/dev/vda1", "fstype": "ext4", "mountpoint": "/"}
        size = 100 * GIB
        # It fills by a gigabyte a day, and is cleaned each month.
        left = [0.62 - 0.01 * ((at / DAY) % 28) for at in axis.times]
        yield series("node_filesystem_size_bytes", labels), [size] * axis.count
        yield series("node_filesystem_avail_bytes", labels), [round(size * part) for part in left]
        yield series("node_filesystem_files", labels), [6.5e6] * axis.count
        yield series("node_filesystem_files_free", labels), [5.9e6] * axis.count
        for name in ("readonly", "device_error"):
            yield series(f"node_filesystem_{name}", labels), [0.0] * axis.count

    def _postgres(self, axis: Axis) -> Iterator[Samples]:
        yield series("pg_up", POSTGRES), [1.0] * axis.count
        for name, value in (("max_connections", 100.0), ("superuser_reserved_connections", 3.0)):
            yield series(f"pg_settings_{name}", POSTGRES), [value] * axis.count
        ill = axis.during("connections")
        for state, base, swing, storm in (("active", 3, 6, 14), ("idle", 14, 12, 40), ("idle in transaction", 1, 1, 6)):
            labels = {**POSTGRES, "datname": "heypeter", "state": state}
            counts = axis.wave(f"pg {state}", base, swing, 1)
            shown = [round(count + storm * bad) for count, bad in zip(counts, ill, strict=True)]
            yield series("pg_stat_activity_count", labels), shown
            longest = axis.wave(f"tx {state}", 0.2, 2, 0.5) if state == "active" else [0.0] * axis.count
            yield series("pg_stat_activity_max_tx_duration", labels), longest
        base_labels = {**POSTGRES, "datname": "heypeter"}
        yield self._grow("pg_stat_database_deadlocks", base_labels, axis.events("deadlocks", 3))
        for name, rate in (("xact_commit", 9e5), ("xact_rollback", 2e3), ("blks_hit", 9e7), ("blks_read", 6e5)):
            yield self._grow(f"pg_stat_database_{name}", base_labels, axis.events(name, rate))
        yield series("pg_database_size_bytes", base_labels), [8.1e9 + (at % (90 * DAY)) * 20 for at in axis.times]
        yield series("pg_exporter_last_scrape_error", POSTGRES), [0.0] * axis.count
        yield series("pg_replication_is_replica", POSTGRES), [0.0] * axis.count
        yield series("pg_replication_lag_seconds", POSTGRES), [0.0] * axis.count

    def _redis(self, axis: Axis) -> Iterator[Samples]:
        asked, ill = axis.events("redis", 2_600_000), axis.during("cache")
        yield series("redis_up", REDIS), [1.0] * axis.count
        hits = [0.955 - 0.32 * bad for bad in ill]
        yield self._grow("redis_keyspace_hits_total", REDIS, [n * part for n, part in zip(asked, hits, strict=True)])
        missed = [n * (1 - part) for n, part in zip(asked, hits, strict=True)]
        yield self._grow("redis_keyspace_misses_total", REDIS, missed)
        yield series("redis_memory_max_bytes", REDIS), [2 * GIB] * axis.count
        yield series("redis_memory_used_bytes", REDIS), [round(v) for v in axis.wave("redis", 0.9 * GIB, 2e8, 1e7)]
        yield series("redis_connected_clients", REDIS), [round(v) for v in axis.wave("clients", 12, 20, 2)]
        for name, rate in (("rejected_connections", 0), ("evicted_keys", 900), ("commands_processed", 3_100_000)):
            yield self._grow(f"redis_{name}_total", REDIS, axis.events(name, rate))
        yield series("redis_exporter_last_scrape_error", REDIS), [0.0] * axis.count

    def _nginx(self, axis: Axis) -> Iterator[Samples]:
        yield series("nginx_up", NGINX), [1.0] * axis.count
        for name in ("accepted", "handled"):
            yield self._grow(f"nginx_connections_{name}", NGINX, axis.events("nginx", 160_000))
        yield self._grow("nginx_http_requests_total", NGINX, axis.events("nginx requests", 900_000))
        for name, base, swing in (("active", 8, 40), ("reading", 0, 1), ("writing", 1, 5), ("waiting", 6, 30)):
            yield series(f"nginx_connections_{name}", NGINX), [round(v) for v in axis.wave(name, base, swing, 2)]

    def _site(self, axis: Axis) -> Iterator[Samples]:
        ill = axis.during("site")
        yield series("probe_success", SITE), [1.0 - bad for bad in ill]
        yield series("probe_http_status_code", SITE), [200.0 * (1 - bad) for bad in ill]
        parts = {"resolve": 0.004, "connect": 0.021, "tls": 0.03, "processing": 0.06, "transfer": 0.01}
        for phase, base in parts.items():
            labels = {**SITE, "phase": phase}
            yield series("probe_http_duration_seconds", labels), axis.wave(phase, base, base / 5, base / 10)
        yield series("probe_duration_seconds", SITE), axis.wave("probe", 0.125, 0.025, 0.01)
        renewed = [float(at // (60 * DAY) * (60 * DAY) + 90 * DAY) for at in axis.times]
        yield series("probe_ssl_earliest_cert_expiry", SITE), renewed


def _small(target: dict[str, str], axis: Axis, weight: float) -> Iterator[Samples]:
    yield series("node_load1", target), axis.wave(f"load {weight}", 0.15, 0.4 * weight, 0.08)
    yield series("node_timex_offset_seconds", target), [0.0004 * n for n in axis.noise(f"clock {weight}")]
    yield series("node_timex_sync_status", target), [1.0] * axis.count
    yield series("node_timex_maxerror_seconds", target), axis.wave(f"error {weight}", 0.02, 0, 0.004)
    yield series("node_vmstat_oom_kill", target), [0.0] * axis.count
    yield series("node_boot_time_seconds", target), [1_760_000_000.0] * axis.count
    for collector in ("cpu", "diskstats", "filesystem", "meminfo", "timex", "vmstat"):
        yield series("node_scrape_collector_success", {**target, "collector": collector}), [1.0] * axis.count
