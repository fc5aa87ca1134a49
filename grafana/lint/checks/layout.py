"""Checks of the grid: no panel on another, none beyond the edge, and no hole between them."""

from collections.abc import Iterator, Sequence
from itertools import product

from grafana.lint.board import Document, Panel, Place
from grafana.lint.scene import Complaint, Scene

WIDTH = 24
Cell = tuple[int, int]


def overlapping_panels(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel that overlaps another."""
    for panels in _grids(document):
        taken: dict[Cell, Panel] = {}
        for panel in panels:
            below = next((taken[cell] for cell in _cells(panel) if cell in taken), None)
            if below is not None:
                yield Complaint(panel, f"it lies on {below}", "move one of them")
            taken |= dict.fromkeys(_cells(panel), panel)


def beyond_the_grid(document: Document, _: Scene) -> Iterator[Complaint]:
    """A panel without a position, or one that extends beyond the 24 columns."""
    for panel in document.board.every():
        place = panel.place or Place()
        if place.w < 1 or place.h < 1 or place.x < 0 or place.y < 0:
            yield Complaint(panel, "it has no place on the grid", "give it gridPos x, y, w and h")
        elif place.x + place.w > WIDTH:
            yield Complaint(panel, f"it ends at column {place.x + place.w}", f"there are {WIDTH}: make it narrower")


def hole_in_the_grid(document: Document, _: Scene) -> Iterator[Complaint]:
    """A gap in the grid beside or above other panels: it looks as if a panel were missing."""
    for panels in _grids(document):
        taken = {cell for panel in panels for cell in _cells(panel)}
        if not taken:
            continue
        rows = range(min(y for _, y in taken), max(y for _, y in taken) + 1)
        free = [(x, y) for y, x in product(rows, range(WIDTH)) if (x, y) not in taken]
        if free:
            x, y = free[0]
            near = max((p for p in panels if p.place and p.place.y <= y), key=lambda p: (p.place.y, p.place.x))  # type: ignore[union-attr]  # asked just before
            yield Complaint(
                near,
                f"after it the grid is empty at x {x}, y {y}",
                f"let the panels of a line be {WIDTH} wide together and equally high",
            )


def _grids(document: Document) -> Iterator[Sequence[Panel]]:
    """Give the panels that share a grid: those of the dashboard, and those that each collapsed row hides."""
    yield document.board.panels
    for row in document.board.panels:
        if row.panels:
            yield row.panels


def _cells(panel: Panel) -> set[Cell]:
    place = panel.place or Place()
    return set(product(range(place.x, place.x + place.w), range(place.y, place.y + place.h)))
