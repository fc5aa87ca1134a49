"""What a Prometheus answered -> what is wrong with the dashboards. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from grafana.queries.plan import Request
from grafana.queries.prometheus import Answer, Labels
from grafana.queries.quiet import Quiet
from rules.lint.fault import Finding

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
AUTO = ("", "__auto")


def legend(request: Request, labels: Labels) -> str:
    """Name a series as Grafana does."""
    if request.legend in AUTO:
        inner = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
        return f"{labels.get('__name__', '')}{{{inner}}}"
    return _LABEL.sub(lambda match: labels.get(match[1], ""), request.legend)


def repeated(answers: Sequence[Answer]) -> list[str]:
    """Give the legends that more than one series of a panel has; the rows of a table have none."""
    drawn = [one for one in answers if one.request.panel and one.request.panel.type != "table"]
    counted = Counter(legend(one.request, labels) for one in drawn for labels in one.series)
    return sorted(name for name, count in counted.items() if count > 1)


def findings(answers: Sequence[Answer], quiet: Sequence[Quiet], proofs: Mapping[str, Answer]) -> Iterator[Finding]:
    """Give the queries that fail, those that are empty for no good reason, and the legends that several series share.

    `proofs` are the answers to `instead` of each entry of quiet.yml.
    """
    for answer in answers:
        if answer.error:
            yield _finding(answer.request, "failed-query", answer.error, "correct the query")
        elif not answer.series and not answer.request.optional:
            yield from _empty(answer, quiet, proofs)
    panels: dict[tuple[str, int | None], list[Answer]] = {}
    for answer in answers:
        if answer.request.panel:
            panels.setdefault((answer.request.document.path, answer.request.panel.id), []).append(answer)
    for group in panels.values():
        for name in repeated(group):
            text = f'several series are called "{name}"'
            yield _finding(group[0].request, "shared-legend", text, "name the label that differs in the legend")


def _empty(answer: Answer, quiet: Sequence[Quiet], proofs: Mapping[str, Answer]) -> Iterator[Finding]:
    request = answer.request
    entry = next((one for one in quiet if one.names(request.document, request.key)), None)
    if entry is None:
        fix = "correct the query, add `or vector(0)`, or say in grafana/queries/quiet.yml why it may be empty"
        yield _finding(request, "empty-answer", f"Prometheus has nothing for {request.expr}", fix)
    elif entry.instead and ((proof := proofs.get(entry.instead)) is None or not proof.series):
        said = proof.error if proof and proof.error else f"{entry.instead} is empty too"
        fix = "see who should export it; or correct `instead` in grafana/queries/quiet.yml"
        yield _finding(request, "empty-answer", f"it may be empty ({entry.why}), but {said}", fix)


def _finding(request: Request, check: str, text: str, fix: str) -> Finding:
    document = request.document
    place = f"{document.board.title}: {request}"
    return Finding(document.path, document.line(request.panel), place, check, text, fix)
