"""Asks a Prometheus everything that dashboards ask, a few requests at a time, as a browser does."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
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

CONNECTIONS = 6  # what a browser opens to one server


@dataclass(frozen=True, slots=True)
class Outcome:
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


async def run(url: str, documents: Sequence[Document], window: Window, quiet: Sequence[Quiet]) -> Outcome:
    """Ask and judge. ValueError: quiet.yml names what there is not, or proves it by something else."""
    wanted = [request for document in documents for request in requests(document, window)]
    _check(wanted, quiet)
    proving = [Request(documents[0], entry.instead, "range", entry.instead) for entry in quiet]
    proofs = {answer.request.expr: answer for answer in await asked(url, proving, window)}
    answers = await asked(url, wanted, window)
    return Outcome(answers, list(findings(answers, quiet, proofs)))


def _check(wanted: Sequence[Request], quiet: Sequence[Quiet]) -> None:
    wrong = list(stale(list(quiet), {(request.document.board.uid, request.key) for request in wanted}))
    for entry in quiet:
        proof = _metrics(entry.instead)
        for request in wanted:
            if entry.names(request.document, request.key) and not proof & _metrics(request.expr):
                wrong.append(f"quiet.yml: {entry.instead} reads nothing that {request} reads: it proves nothing")
    if wrong:
        raise ValueError("\n".join(wrong))


def _metrics(expr: str) -> set[str]:
    return {name_of(selector) for selector, _ in selectors(parse(expr))}
