"""Runs all benchmarks and writes bench/RESULTS.md: machine, versions, figures and ratios with their goals.

`make bench`; with --quick, in three minutes, what changes most, into data/RESULTS-quick.md.
"""

import argparse
import json
import os
import platform
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import peers
from bench.load import ROOT, python
from deploy.local.stack import STACK

BENCHMARKS = re.findall(r"^BENCHMARKS := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[0].split()
QUICK = ("exporter_ingest", "exporter_scrape", "webhook_latency", "receiver_peers", "alertmanager_path", "fan_out")
PACKAGES = ("aiohttp", "msgspec", "prometheus-client", "slack-sdk")
PROGRAMS = ("prometheus", "alertmanager", "pushgateway")
CURVES = ROOT / "bench/curves.yml"
PATIENCE = 900  # seconds for one benchmark
STALL = 20.0  # milliseconds that a loop may be late at the 99th percentile

Note = Mapping[str, Any]


class Ran(NamedTuple):
    """One benchmark: what it printed, noted, how its loops were late, how long it took, and whether it ended well."""

    name: str
    about: str
    printed: str
    notes: Sequence[Note]
    stalls: Sequence[Note]
    seconds: float
    ended_well: bool


def run(name: str, words: Sequence[str]) -> Ran:
    """Run one benchmark by itself."""
    with tempfile.TemporaryDirectory() as folder:
        files = {key: Path(folder) / key for key in ("BENCH_FIGURES", "BENCH_STALLS")}
        environment = {**os.environ, **{key: str(path) for key, path in files.items()}}
        began = time.monotonic()
        command = ["timeout", str(PATIENCE), *python("-m", f"bench.{name}", *words)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        took = time.monotonic() - began
        notes, stalls = (_lines(path) for path in files.values())
    if done.returncode:
        print(f"{name} ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}", file=sys.stderr)
    text = (ROOT / f"bench/{name}.py").read_text("utf-8")
    about = re.sub(r"\s+", " ", text.split('"""')[1].split("\n\n")[0])
    return Ran(name, about, done.stdout.strip(), notes, stalls, took, done.returncode == 0)


def _lines(path: Path) -> list[Note]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def machine() -> Iterator[str]:
    """Say what this was measured on, and with which versions."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text("utf-8"))
    cores = len(os.sched_getaffinity(0))
    gib = f"{int(memory[1]) / (1 << 20):.0f} GiB" if memory else "?"
    yield f"{cores} cores ({model[1] if model else platform.machine()}), {gib}, Linux {platform.release()}"
    yield f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    yield ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    programs = [(name, STACK / "bin" / name) for name in PROGRAMS]
    programs.append(("postgres", STACK / "servers/bin/postgres"))
    yield ", ".join(f"{name} {_version(path)}" for name, path in programs)
    yield peers.missing() or ", ".join(peers.PACKAGES[:3]).replace("==", " ")


def _version(program: Path) -> str:
    if not program.exists():
        return "missing"
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "?"


def commit() -> str:
    """Name the commit that was measured, and whether the tree was as committed."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = [line for line in git("status", "--porcelain").splitlines() if "bench/RESULTS.md" not in line]
    return f"{git('rev-parse', '--short=12', 'HEAD')}{' with changes that are not committed' if changed else ''}"


def number(value: float) -> str:
    """Write a figure with three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def goal(note: Note) -> tuple[str, str]:
    """Give the goal of a figure or of a ratio, and whether it is met."""
    value = note["ratio"] if "ratio" in note else note["value"]
    if note.get("at_most") is not None:
        return f"≤ {number(note['at_most'])}", "yes" if value <= note["at_most"] else "**no**"
    if note.get("at_least") is not None:
        return f"≥ {number(note['at_least'])}", "yes" if value >= note["at_least"] else "**no**"
    return "", ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Write a table; the columns after the first two are numbers."""
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' if n < 1 else '---:' for n in range(len(heads)))} |"
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def figures(ran: Sequence[Ran]) -> Iterator[str]:
    """Write the figures that stand by themselves."""
    notes = [note for one in ran for note in one.notes if "ratio" not in note]
    rows = [(n["name"], f"{number(n['value'])} {n['unit']}".strip(), *goal(n)) for n in notes]
    if rows:
        yield from ("## Figures and goals", "")
        yield from table(("", "measured", "goal", "met"), rows)


def comparisons(ran: Sequence[Ran]) -> Iterator[str]:
    """Write what was compared side by side."""
    notes = [note for one in ran for note in one.notes if "ratio" in note]
    rows = [
        (
            f"{n['what']}, next to {n['peer']}",
            f"{number(n['ours'])} {n['unit']}",
            f"{number(n['theirs'])} {n['unit']}",
            number(n["ratio"]),
            f"{number(n['least'])} to {number(n['most'])}",
            str(n["pairs"]),
            " ".join(goal(n)),
        )
        for n in notes
    ]
    if rows:
        yield from ("## Side by side", "")
        yield "Runs of both take turns. The ratio is the median of the pairs' ratios, and above 1 where ours is better."
        yield ""
        yield from table(("", "ours", "theirs", "ratio", "of the pairs", "pairs", "goal"), rows)


def said(met: bool) -> str:  # noqa: FBT001  # it is what is said
    """Say whether a goal is met."""
    return "yes" if met else "**no**"


def stalls(ran: Sequence[Ran]) -> Iterator[str]:
    """Write how late the loops of our programs were."""
    worst = dict[tuple[str, str], Note]()
    for one in ran:
        for note in one.stalls:
            key = (one.name, note["program"])
            if note["turns"] and (key not in worst or note["late"][0] > worst[key]["late"][0]):
                worst[key] = note
    rows = [
        (f"{name}, {program}", *(number(note[what][n]) for what in ("late", "own", "computing") for n in (0, 1)))
        for (name, program), note in worst.items()
    ]
    if rows:
        met, met_own = (all(note[what][0] <= STALL for note in worst.values()) for what in ("late", "own"))
        yield from ("## Stalls of the event loops", "")
        yield "Milliseconds by which a timer of every 5 ms was late, in the process that was latest; the same without"
        yield "the time in which its thread could run and others had the processor, by the kernel's schedstat:"
        yield "its own other threads, and all else that runs on the servers' core; and how long it computed. What"
        yield "is left between these two it waited for Python's lock or for the disk. Goal: at most"
        yield f"{number(STALL)} ms at the 99th percentile; met in all: {said(met)}; without others: {said(met_own)}."
        yield ""
        heads = "", "late, p99", "longest", "without others, p99", "longest", "computing, p99", "longest"
        yield from table(heads, rows)


def curves(ran: Sequence[Ran]) -> Iterator[str]:
    """Write the figures of those that cannot be run here, next to ours of this run."""
    ours = dict[str, str]()
    for note in (note for one in ran for note in one.notes):
        name, value = note.get("name", note.get("what")), note["ours"] if "ratio" in note else note["value"]
        ours.setdefault(name, f"{number(value)} {note['unit']}")
    for name, peer in yaml.safe_load(CURVES.read_text("utf-8")).items():
        yield from (f"## {name}, measured elsewhere", "", peer["about"].strip(), "")
        rows = [(row["what"], row["theirs"], row.get("ours") or ours.get(row["figure"], "")) for row in peer["rows"]]
        yield from table(("", "theirs", "ours"), rows)
        yield from ("What is unfair about it:", "")
        yield from (f"- {line}" for line in peer["unfair"])
        yield ""


def document(ran: Sequence[Ran], began: datetime, load: str) -> str:
    """Write the whole page."""
    minutes = sum(one.seconds for one in ran) / 60
    failed = [one.name for one in ran if not one.ended_well]
    missing = [name for name in BENCHMARKS if name not in {one.name for one in ran}]
    lines = [
        "# Results of the benchmarks",
        "",
        f"Written by `make bench` at {began:%Y-%m-%d %H:%M} UTC in {minutes:.0f} minutes, of commit {commit()}.",
        "",
        *(f"- {line}" for line in machine()),
        f"- load of the machine before: {load}",
        *(f"- {name} failed" for name in failed),
        *([f"- not run this time: {', '.join(missing)}"] if missing else []),
        "",
        "The machine is virtual and shared: trust ratios more than milliseconds. Servers have the first core, their",
        "load the other. `make bench` writes this page again; `python -m bench.NAME` runs one.",
        "",
        *figures(ran),
        *comparisons(ran),
        *stalls(ran),
        *curves(ran),
        "## What each printed",
        "",
    ]
    for one in ran:
        lines += [f"### {one.name}", "", f"{one.about} ({one.seconds:.0f} s)", "", "```text", one.printed, "```", ""]
    return "\n".join(lines)


def main() -> int:
    """Run and write; gives the exit status: 1 if a benchmark failed."""
    known = argparse.ArgumentParser(description=__doc__)
    known.add_argument("--quick", action="store_true", help="only what changes most")
    known.add_argument("--short", action="store_true", help="take a second for each: only shows that all run")
    known.add_argument("--only", nargs="+", default=(), help="these benchmarks")
    known.add_argument("--out", type=Path, help="where to write")
    options = known.parse_args()
    partial = options.quick or options.short or options.only
    out = options.out or ROOT / ("data/RESULTS-quick.md" if partial else "bench/RESULTS.md")
    out.parent.mkdir(exist_ok=True)
    began, load, ran = datetime.now(UTC), " ".join(f"{one:.2f}" for one in os.getloadavg()), []
    for name in options.only or (QUICK if options.quick else BENCHMARKS):
        print(f"== {name}", flush=True)
        ran.append(run(name, ["--short"] if options.short else []))
        print(f"{ran[-1].printed}\n({ran[-1].seconds:.0f} s)", flush=True)
        out.write_text(document(ran, began, load), "utf-8")  # after each: what is there is not lost if one hangs
    print(f"written: {out}")
    return 0 if all(one.ended_well for one in ran) else 1


if __name__ == "__main__":
    raise SystemExit(main())
