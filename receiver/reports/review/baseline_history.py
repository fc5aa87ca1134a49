"""Keeps the baselines of each review in a file, for Prometheus forgets sooner than a quarter is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from receiver.reports.review.model import Baseline
from receiver.reports.review.period import QUARTER

NAME = "baselines.jsonl"
_NEAR = timedelta(days=30)  # a review that was held so much too early or late is still last quarter's


class Remembered(msgspec.Struct, frozen=True):
    """The medians that one review found."""

    at: datetime
    values: dict[str, float]


def recall(folder: Path, end: datetime) -> Remembered | None:
    """Give the review that lies nearest to a quarter before ``end``; lines that are none are passed over."""
    try:
        lines = (folder / NAME).read_bytes().splitlines()
    except OSError:
        return None
    stored: list[Remembered] = []
    for line in lines:
        try:
            stored.append(msgspec.json.decode(line, type=Remembered))
        except msgspec.DecodeError:
            continue
    wanted = end - QUARTER
    near = [one for one in stored if one.at.tzinfo and abs(one.at - wanted) <= _NEAR]
    return min(near, key=lambda one: abs(one.at - wanted), default=None)


def filled(lines: Sequence[Baseline], remembered: Remembered | None) -> tuple[Baseline, ...]:
    """Take from an earlier review what Prometheus no longer knows."""
    if remembered is None:
        return tuple(lines)
    day = f"{remembered.at:%Y-%m-%d}"
    return tuple(
        msgspec.structs.replace(line, then=remembered.values[line.key], remembered=day)
        if line.then is None and line.key in remembered.values
        else line
        for line in lines
    )


def remember(folder: Path, end: datetime, lines: Sequence[Baseline]) -> None:
    """Add what this review found; OSError if the file cannot be written."""
    values = {line.key: line.now for line in lines if line.now is not None}
    if values:
        with (folder / NAME).open("ab") as file:
            file.write(msgspec.json.encode({"at": end, "values": values}) + b"\n")
