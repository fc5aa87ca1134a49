"""The exporter's gauges in the simulated school: seats, users, tickets, scans, backups, and its own."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deploy.simulation.blocks import series
from deploy.simulation.counters import Samples
from deploy.simulation.time_axis import DAY, ZONE, Axis, over_days

Lists = Mapping[str, list[str]]
Give = Callable[[Axis, Lists], Iterator[tuple[dict[str, str], list[float]]]]
STUDENTS = 31_000  # that use the school within a month
WINDOWS = {"5m": 0.0025, "1h": 0.018, "1d": 0.24, "7d": 0.62, "30d": 1.0}  # which share of them does within less
FINDINGS = {"dependency": (0, 0, 3, 7), "container": (0, 0, 1, 4), "secrets": (0, 0, 0, 0), "tls": (0, 0, 0, 1)}
SEATS = {"private": 1_260.0, "group": 4_480.0, "conversation": 1_960.0, "exam": 840.0}


def gauges(name: str, target: Mapping[str, str], axis: Axis, lists: Mapping[str, Any]) -> Iterator[Samples]:
    """Return the samples of a gauge in the catalogue; unknown gauges are 0."""
    give = GAUGES.get(name, _steady(0))
    for labels, values in give(axis, lists):
        yield series(name, {**target, **labels}), values


def _steady(value: float, **labels: str) -> Give:
    return lambda axis, _: iter([(labels, [value] * axis.count)])


def _wave(base: float, swing: float, noise: float, scale: float = 1.0) -> Give:
    return lambda axis, _: iter([({}, [round(v) * scale for v in axis.wave(f"{base}{swing}", base, swing, noise)])])


def _daily(label: str, values: tuple[str, ...], hour: float, every: int = DAY) -> Give:
    """When something last succeeded that happens at the same local hour."""

    def give(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
        for nth, value in enumerate(values):
            late = hour * 3600 + nth * 420 - ZONE
            yield {label: value} if label else {}, [float((at - late) // every * every + late) for at in axis.times]

    return give


def _active(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for window, share in WINDOWS.items():
        whole = STUDENTS * share
        if window.endswith("d"):
            yield {"window": window}, [float(round(whole * over_days(at, int(window[:-1])))) for at in axis.times]
        else:
            yield {"window": window}, [float(round(v)) for v in axis.wave(window, 0.0, whole, whole / 50)]


def _accounts(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for window, share in WINDOWS.items():
        yield {"window": window}, [round(v) for v in axis.wave(f"accounts {window}", 0.4, 190 * share, share * 8)]


def _seats(part: float) -> Give:
    def give(axis: Axis, lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
        for kind in lists["class_types"]:
            full = SEATS.get(kind, 50.0)
            swing = full * 0.12 if part < 1 else 0.0
            yield {"class_type": kind}, [round(v) for v in axis.wave(kind, full * part, swing, swing / 8)]

    return give


def _retention(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for cohort, ratio in {"d1": 0.94, "d7": 0.88, "d30": 0.835, "d90": 0.71}.items():
        yield {"cohort": cohort}, [ratio + 0.006 * ((at // DAY) % 7 - 3) / 3 for at in axis.times]


def _tickets(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for priority, many in {"low": 14, "normal": 9, "high": 3, "urgent": 0}.items():
        yield (
            {"ticket_priority": priority},
            [round(v) for v in axis.wave(f"tickets {priority}", many, many / 3, many / 9)],
        )


def _oldest(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    """The oldest ticket waits for an hour, and for nearly three at times of night."""
    ages = axis.wave("oldest ticket", 5_200, -1_900, 700)
    for priority, part in {"low": 1.0, "normal": 0.8, "high": 0.4, "urgent": 0.0}.items():
        ago = [at - max(60.0, age * part) if part else 0.0 for at, age in zip(axis.times, ages, strict=True)]
        yield {"ticket_priority": priority}, ago


def _findings(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for scanner, counts in FINDINGS.items():
        for grade, count in zip(("critical", "high", "medium", "low"), counts, strict=True):
            yield {"scanner": scanner, "finding_severity": grade}, [float(count)] * axis.count


def _controls(axis: Axis, lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for framework in ("gdpr", "pci_dss"):
        for control in lists["controls"]:
            yield {"framework": framework, "control": control}, [1.0] * axis.count


def _ago(label: str, values: Mapping[str, float]) -> Give:
    """Fixed timestamps, the given days before the end of the history."""

    def give(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
        noon = 1_700_000_000 // DAY * DAY
        today = axis.times[-1] // DAY * DAY
        for value, days in values.items():
            at = max(noon, today - days * DAY) if days > 2 else axis.times[-1] - days * DAY  # noqa: PLR2004  # of long ago
            yield {label: value} if label else {}, [float(at)] * axis.count

    return give


def _series(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for family, count in {"http_requests_total": 66, "db_queries_total": 24, "rum_page_views_total": 24}.items():
        yield {"family": family}, [float(count)] * axis.count


def _limits(axis: Axis, _lists: Lists) -> Iterator[tuple[dict[str, str], list[float]]]:
    for family in ("http_requests_total", "db_queries_total", "rum_page_views_total"):
        yield {"family": family}, [2_000.0] * axis.count


GAUGES: dict[str, Give] = {
    "http_requests_in_flight": _wave(2, 7, 1.5),
    "deployment_last_timestamp_seconds": _daily("", ("",), 11.6),
    "rum_active_sessions": _wave(4, 70, 6),
    "active_users": _active,
    "class_seats_booked": _seats(0.66),
    "class_seats_capacity": _seats(1.0),
    "user_retention_ratio": _retention,
    "support_tickets_open": _tickets,
    "support_oldest_unanswered_ticket_timestamp_seconds": _oldest,
    "auth_login_failure_distinct_accounts": _accounts,
    "security_scan_last_success_timestamp_seconds": _daily("scanner", tuple(FINDINGS), 3.0),
    "security_scan_open_findings": _findings,
    "compliance_control_passing": _controls,
    "compliance_last_audit_timestamp_seconds": _ago("framework", {"gdpr": 140, "pci_dss": 75}),
    "compliance_oldest_open_subject_request_timestamp_seconds": _ago("kind", {"access": 4, "erasure": 9}),
    "backup_last_success_timestamp_seconds": _daily("database", ("heypeter",), 2.5),
    "exporter_series": _series,
    "exporter_series_limit": _limits,
    "exporter_dedup_entries": _wave(400, 2_600, 80),
    "exporter_vitals_held": _wave(2, 50, 5),
    "exporter_limiter_clients": _wave(5, 120, 9),
    "exporter_journal_bytes": _wave(20_000, 90_000, 9_000),
    "exporter_snapshot_last_success_timestamp_seconds": _daily("", ("",), 0, 60),
    "exporter_collector_success": _steady(1, collector="journal"),
    "exporter_config_last_reload_successful": _steady(1),
    "exporter_config_last_reload_success_timestamp_seconds": _daily("", ("",), 14.2),
}
