"""The packages that build the wheel inside the image, with their hashes: a part of requirements-dev.lock."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("setuptools",)


def entry(lock: str, package: str) -> str:
    """Give the lines of one package of a lock; ValueError if it is not there."""
    lines: list[str] = []
    for line in lock.splitlines():
        if line.startswith(f"{package}==") or (lines and line.startswith(" ")):
            lines.append(line)
        elif lines:
            break
    if not lines:
        raise ValueError(f"requirements-dev.lock does not have {package}")
    return "\n".join(lines) + "\n"


def texts() -> dict[Path, str]:
    """Give the file of deploy/image."""
    lock = (ROOT / "requirements-dev.lock").read_text("utf-8")
    head = "# Generated from requirements-dev.lock by `python -m deploy.generate`.\n"
    return {ROOT / "deploy/image/build.lock": head + "".join(entry(lock, package) for package in PACKAGES)}
