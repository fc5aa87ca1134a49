"""Benchmarks dashboard: the fifteen benchmarks over time, each with its goal."""

from grafana.dashboards import goals
from grafana.panel import Board, Section, lines
from rules.writing import SITE


def _group(number: int, title: str, group: tuple[goals.Goal, ...]) -> Section:
    graphs = goals.graphs(group)
    return Section(number, title, (*lines(7, *graphs[:3], across=3), *lines(7, *graphs[3:])))


BOARD = Board(
    uid=f"{SITE.prefix}-benchmarks",
    title=f"{SITE.name}: benchmarks",
    about="Which of the fifteen benchmarks are met, and since when? For everyone who works towards them.",
    span="now-7d",
    refresh="5m",
    variables=(),
    sections=(
        _group(1, "Application", goals.APPLICATION),
        _group(2, "Infrastructure", goals.INFRASTRUCTURE),
        _group(3, "Business", goals.BUSINESS),
    ),
)
