"""Judges dashboards: reads them and what stands around them, asks every check, and gives findings in their places."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from grafana.lint.board import Document, Panel, parse
from grafana.lint.checks.links import alert_to_nowhere
from grafana.lint.query import Query
from grafana.lint.register import ALERT_TO_NOWHERE, CHECKS, UNREADABLE
from grafana.lint.scene import Complaint, Scene, scene
from rules.lint.fault import Finding
from rules.site import ROOT

DASHBOARDS = ROOT / "grafana/dashboards"


def judged(files: Sequence[Path], root: Path = ROOT, *, rules: bool = False) -> tuple[list[Finding], int]:
    """Give what is wrong in these files, and how many panels they have; `rules`: where alerts lead is judged as well.

    The other dashboards beside them are read too: links lead to them, and uids must differ.

    Raises:
        ValueError: a rule file or table of the product cannot be read.

    """
    documents, broken = _read(files)
    beside = sorted({path for file in files for path in file.parent.glob("*.json")} - set(files))
    others, _ = _read([path for path in beside if path.resolve() not in {file.resolve() for file in files}])
    around = scene((*documents, *others), root)
    findings = [finding for document in documents for finding in of_document(document, around)]
    if rules:
        findings += of_rules(around)
    return sorted([*broken, *findings], key=lambda one: (one.file, one.line)), sum(
        len(document.board.shown()) for document in documents
    )


def _read(files: Sequence[Path]) -> tuple[list[Document], list[Finding]]:
    documents, broken = [], []
    for path in files:
        try:
            documents.append(parse(str(path), path.read_text("utf-8")))
        except OSError as error:
            text, fix = f"it cannot be read: {error.strerror}", "correct the name or its rights"
            broken.append(Finding(str(path), 1, "", UNREADABLE, text, fix))
        except ValueError as error:  # UnicodeDecodeError is one
            fix = "write what `python -m grafana.build` would"
            broken.append(Finding(str(path), 1, "", UNREADABLE, str(error), fix))
    return documents, broken


def of_document(document: Document, around: Scene) -> list[Finding]:
    """Give all that the checks find in one dashboard."""
    findings: list[Finding] = []
    for name, check in CHECKS.items():
        findings += [_placed(document, name, complaint) for complaint in check(document, around)]
    return list(dict.fromkeys(findings))


def _placed(document: Document, name: str, complaint: Complaint) -> Finding:
    at = complaint.at
    panel = at.panel if isinstance(at, Query) else at if isinstance(at, Panel) else None
    place = f"{document.board.title}: {at}" if at is not None else document.board.title
    return Finding(document.path, document.line(panel), place, name, complaint.text, complaint.fix)


def of_rules(around: Scene) -> Iterator[Finding]:
    """Give the alerts that lead to a dashboard or a panel that is not there."""
    for rule in around.world.rules:
        if rule.alerts and (wrong := alert_to_nowhere(rule, around)):
            path = Path(rule.file)
            short = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            line = rule.line_of("dashboard_url")
            yield Finding(str(short), line, rule.name, ALERT_TO_NOWHERE, wrong, "correct its dashboard_url")
