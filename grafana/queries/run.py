"""Asks a Prometheus everything that dashboards ask, a few requests at a time, as a browser does."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import aiohttp
from promql_parser import parse

from grafana.lint.board import Document
from grafana.lint.board import parse as read_board
from grafana.queries.plan import Request, Window, requests
from grafana.queries.prometheus import Answer, ask
from grafana.queries.quiet import Quiet, stale
from grafana.queries.verdict import findings
from rules.lint.expression import name_of, selectors
from rules.lint.fault import Finding
from rules.lint.source import read
from rules.site import ROOT

_DEEP = 8
CONNECTIONS = 6  # what a browser opens to one server


@dataclass(frozen=True, slots=True)
class RunResult:
    """All answers in the order of the dashboards, and what is wrong."""

    answers: list[Answer]
    findings: list[Finding]


def load(files: Sequence[Path]) -> list[Document]:
    """Read dashboards; ValueError names the file and what is wrong with it."""
    documents = []
    for path in files:
        try:
            documents.append(read_board(str(path), path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
    return documents


async def asked(url: str, wanted: Sequence[Request], window: Window, connections: int = CONNECTIONS) -> list[Answer]:
    """Send them, so many at a time; UnreachableError when there is no Prometheus."""
    gate = asyncio.Semaphore(connections)

    async def one(session: aiohttp.ClientSession, request: Request) -> Answer:
        async with gate:
            return await ask(session, url, request, window)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        return list(await asyncio.gather(*(one(session, request) for request in wanted)))


async def run(url: str, documents: Sequence[Document], window: Window, quiet: Sequence[Quiet]) -> RunResult:
    """Ask and judge. ValueError: quiet.yml names what there is not, or proves it by something else."""
    wanted = [request for document in documents for request in requests(document, window)]
    check(wanted, quiet)
    proving = [Request(documents[0], entry.instead, "range", entry.instead) for entry in quiet if entry.instead]
    proofs = {answer.request.expr: answer for answer in await asked(url, proving, window)}
    answers = await asked(url, wanted, window)
    return RunResult(answers, list(findings(answers, quiet, proofs)))


def check(wanted: Sequence[Request], quiet: Sequence[Quiet]) -> None:
    """Hold the table against the requests: ValueError names entries of no use, and proofs that prove nothing."""
    wrong = list(stale(list(quiet), {(request.document.board.uid, request.key) for request in wanted}))
    for entry in quiet:
        proof = _metrics(entry.instead) if entry.instead else set()
        meant = [request for request in wanted if entry.instead and entry.names(request.document, request.key)]
        text = f"quiet.yml: {entry.instead} reads nothing that %s reads: it proves nothing"
        wrong += [text % request for request in meant if not proof & _metrics(request.expr)]
    if wrong:
        raise ValueError("\n".join(wrong))


def _metrics(expr: str, depth: int = 0) -> set[str]:
    """Give the series that an expression reads, and those that they are recorded from."""
    selected = {name_of(selector) for selector, _ in selectors(parse(expr))}
    recorded = {inner for name in selected for inner in _recorded().get(name, ())} if depth < _DEEP else set()
    return selected.union(*(_metrics(inner, depth + 1) for inner in recorded))


@cache
def _recorded() -> dict[str, list[str]]:
    """Give for each recorded series what it is recorded from."""
    expressions_of_series: dict[str, list[str]] = {}
    for path in sorted((ROOT / "rules").glob("*.yml")):
        for rule in read(path).rules:
            if not rule.alerts:
                expressions_of_series.setdefault(rule.name, []).append(rule.expr)
    return expressions_of_series
