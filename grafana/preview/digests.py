"""What each picture shows, as a digest beside it, so that a picture that is older than its dashboard is noticed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana.preview.bundle import HERE, PACKAGES

FILE = "digests.json"
_LONG = 16  # characters of a digest: enough to tell versions apart


def shows(dashboard: Path, data: str, at: str) -> str:
    """Return a digest of what a picture shows: the dashboard without its descriptions, the data, and our drawing."""
    drawn = json.dumps(_visible(json.loads(dashboard.read_text("utf-8"))), sort_keys=True)
    sources = [
        *(HERE / name for name in PACKAGES),
        *sorted(path for path in (HERE / "src").rglob("*") if path.is_file()),
    ]
    page = b"".join(path.read_bytes() for path in sources)
    return hashlib.sha256(f"{drawn}\n{data}\n{at}\n".encode() + page).hexdigest()[:_LONG]


def _visible(part: Any) -> Any:  # noqa: ANN401  # JSON
    if isinstance(part, dict):
        return {key: _visible(value) for key, value in part.items() if key != "description"}
    return [_visible(value) for value in part] if isinstance(part, list) else part


def note(picture: Path, dashboard: str, at: str, digest: str) -> None:
    """Write down what a picture shows, in a file beside it."""
    path = picture.with_name(FILE)
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    known[picture.name] = {"at": at, "dashboard": dashboard, "picture": _of_file(picture), "shows": digest}
    there = {name: entry for name, entry in sorted(known.items()) if picture.with_name(name).exists()}
    path.write_text(json.dumps(there, indent=2) + "\n", "utf-8")


def stale(folder: Path, dashboards: Path, data: str) -> Iterator[str]:
    """Say which pictures below a folder are not of these dashboards and this data, and why."""
    for picture in sorted(folder.rglob("*.webp")):
        path = picture.with_name(FILE)
        entry = (json.loads(path.read_text("utf-8")) if path.exists() else {}).get(picture.name)
        name = picture.relative_to(folder)
        if entry is None or entry["picture"] != _of_file(picture):
            yield f"{name}: nobody has written down what it shows"
        elif not (source := dashboards / f"{entry['dashboard']}.json").exists():
            yield f"{name}: there is no dashboard {entry['dashboard']}"
        elif entry["shows"] != shows(source, data, entry["at"]):
            yield f"{name}: the dashboard or its data has changed since"


def _of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_LONG]
