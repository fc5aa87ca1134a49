"""Which priorities a site has: those that its matrix names, and whether the rest of the file knows no others."""

from collections.abc import Collection, Iterable, Iterator

import msgspec

from process.settings import Findings, Source
from receiver.config.people import MatrixRow, cells
from receiver.incident.model import Priority


def configured(rows: Iterable[MatrixRow]) -> tuple[Priority, ...]:
    """List the columns of a matrix, the most urgent first."""
    return tuple(sorted({priority for row in rows for priority in cells(row)}))


def check_columns(
    rows: Collection[MatrixRow], known: Collection[Priority], source: Source, findings: Findings, at: str
) -> None:
    """Every priority from P1 to the last one of the site needs somebody in its column, and no other has one."""
    for priority in tuple(Priority)[: len(Priority) if not known else tuple(Priority).index(max(known)) + 1]:
        if not any(cells(row).get(priority) for row in rows):
            fix = f"column {priority} is empty: nobody would be notified; name a role in at least one row"
            findings.add(source.error(at, fix))
    for number, row in enumerate(rows):
        for priority in cells(row).keys() - set(known):
            findings.add(source.error(f"{at}[{number}].{priority}", _unknown(priority, known)))


def check_mentions(config: msgspec.Struct, known: Collection[Priority], source: Source, findings: Findings) -> None:
    """Refuse a priority that the matrix lacks, wherever the file names it."""
    for at, priority in _mentions(config, ""):
        if priority not in known:
            findings.add(source.error(at, _unknown(priority, known)))


def _unknown(priority: Priority, known: Collection[Priority]) -> str:
    has = ", ".join(sorted(known)) or "none"
    return f"no column for {priority.value!r} in escalation_matrix (it has {has}); add one, or use another priority"


def _mentions(value: object, at: str) -> Iterator[tuple[str, Priority]]:
    """Find the values and keys that are priorities; the columns of a matrix are neither."""
    if isinstance(value, Priority):
        yield at, value
    for name, inner in _parts(value):
        if isinstance(name, Priority):
            yield f"{at}.{name}", name
        yield from _mentions(inner, f"{at}[{name}]" if isinstance(name, int) else f"{at}.{name}")


def _parts(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple):
        return enumerate(value)
    if isinstance(value, msgspec.Struct):
        return ((field.encode_name, getattr(value, field.name)) for field in msgspec.structs.fields(value))
    return ()
