"""Generate rules/expected.yml from rules/tables/expected.yml: alerts for jobs and metrics that have disappeared."""

from pathlib import Path
from typing import Annotated

import msgspec
import yaml

from rules.writing import Panels, annotations, file, group

ROOT = Path(__file__).resolve().parents[1]
ABOUT = """\
# A job that was removed from the configuration has no `up` series that could be 0, and a metric that is no longer
# exposed leaves its alerts silent. absent() keeps the equality matchers of its selector as labels; label_replace adds
# the name of the metric.
"""
Metric = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_]+$")]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    jobs: dict[str, list[Metric]]
    without: list[str] = []

    def __post_init__(self) -> None:
        """Reject a job under `without` that the table does not have."""
        unknown = [job for job in self.without if job not in self.jobs]
        if unknown:
            raise ValueError(f"without: unknown job {unknown[0]!r} (expected one of {', '.join(self.jobs)})")

    @property
    def here(self) -> dict[str, list[Metric]]:
        """Return the jobs of this site with their metrics."""
        return {job: metrics for job, metrics in self.jobs.items() if job not in self.without}


def read(root: Path = ROOT) -> Table:
    """Return the table of a checkout; ValueError names the file and its fault."""
    path = root / "rules/tables/expected.yml"
    try:
        return msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Table)
    except (msgspec.ValidationError, yaml.YAMLError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error


def written(table: Table, panels: Panels) -> str:
    """Return the text of the rule file."""
    missing = " or ".join(f'absent(up{{job="{job}"}})' for job in table.here)
    silent = " or ".join(
        f'label_replace(absent({metric}{{job="{job}"}}), "metric", "{metric.removesuffix("_bucket")}", "", "")'
        for job, metrics in table.here.items()
        for metric in metrics
    )
    rules: list[dict[str, object]] = [
        {
            "alert": "JobMissing",
            "expr": missing,
            "for": "10m",
            "labels": {"severity": "warning", "priority": "P2", "team": "infrastructure"},
            "annotations": annotations(
                "JobMissing",
                "Job has no targets",
                "Prometheus has no target for the job {{ $labels.job }}: alerts about it cannot fire.",
                panels,
            ),
        },
        {
            "alert": "ExpectedMetricMissing",
            "expr": f"({silent}) and on (job) up == 1",
            "for": "30m",
            "labels": {"severity": "info", "priority": "P3", "team": "infrastructure"},
            "annotations": annotations(
                "ExpectedMetricMissing",
                "Expected metric is missing",
                "The job {{ $labels.job }} responds but does not expose {{ $labels.metric }}: alerts about it "
                "cannot fire.",
                panels,
            ),
        },
    ]
    # A site of which no job has an expected metric has nothing that could be missing.
    return file("expected.yml", ABOUT, [group("expected", "1m", rules if silent else rules[:1])])
