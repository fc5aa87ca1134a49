"""Writes series as OpenMetrics text, one file for each block of Prometheus' database, and makes the blocks of them."""

import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self, TextIO

PROMTOOL = Path(__file__).resolve().parents[2] / ".stack/bin/promtool"
# Lengths that Prometheus itself compacts to: 2h, and three times as long again and again.
LENGTHS = [2 * 3600 * 3**n for n in range(6)]


class BlockError(Exception):
    """promtool refused; the text says why."""


def series(name: str, labels: Mapping[str, str]) -> str:
    """Write the identity of a series."""
    shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()) if value)
    return f"{name}{{{shown}}}"


class Blocks:
    """Samples on their way into a data folder; ``close`` makes the blocks."""

    def __init__(self, folder: Path, length: int, labels: Mapping[str, str]) -> None:
        self._folder, self._length, self._labels = folder, length, labels
        self._scratch = folder / "openmetrics"
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._files: dict[int, TextIO] = {}
        self.samples = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for file in self._files.values():
            file.close()
        if kind is None:
            self._make()

    def add(self, identity: str, times: Sequence[int], values: Sequence[float]) -> None:
        """Take in a series with its samples in the order of time; NaN is a time at which there is none."""
        there = [(time, value) for time, value in zip(times, values, strict=True) if not math.isnan(value)]
        times, values = [time for time, _ in there], [value for _, value in there]
        self.samples += len(times)
        at = 0
        while at < len(times):
            block = times[at] // self._length
            end = at + 1
            limit = (block + 1) * self._length
            while end < len(times) and times[end] < limit:
                end += 1
            lines = [
                f"{identity} {value:.10g} {time}\n" for time, value in zip(times[at:end], values[at:end], strict=True)
            ]
            self._file(block).write("".join(lines))
            at = end

    def _file(self, block: int) -> TextIO:
        if block not in self._files:
            self._files[block] = (self._scratch / f"{block}.om").open("w", encoding="ascii", buffering=1 << 20)
        return self._files[block]

    def _make(self) -> None:
        for block in sorted(self._files):
            path = self._scratch / f"{block}.om"
            with path.open("a", encoding="ascii") as file:
                file.write("# EOF\n")
            labels = [f"--label={key}={value}" for key, value in self._labels.items()]
            limit = f"--max-block-duration={self._length}s"
            command = [str(PROMTOOL), "tsdb", "create-blocks-from", limit, "openmetrics", "--quiet", *labels]
            made = subprocess.run([*command, str(path), str(self._folder)], capture_output=True, text=True, check=False)
            path.unlink()
            if made.returncode != 0:
                raise BlockError(f"promtool tsdb create-blocks-from: {(made.stderr or made.stdout).strip()}")
        self._scratch.rmdir()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
