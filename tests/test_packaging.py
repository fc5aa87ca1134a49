"""A wheel contains every module, template, script and locale of the two programs."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

PROJECT = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
# Sources of the browser's script, and documentation.
NOT_INSTALLED: tuple[str, ...] = (
    "exporter/rum/src/*",
    "exporter/rum/*.json",
    "exporter/rum/build.mjs",
    "*/.gitignore",
    "*/README.md",
)
NOT_INSTALLED += ("exporter/client/package.json", "exporter/client/heypeter_client/*")


def tracked(package: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", package], capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines() if not any(fnmatch(line, one) for one in NOT_INSTALLED)]


def test_every_module_is_in_a_package_that_is_installed() -> None:
    for package in ("exporter", "process", "receiver"):
        folders = {path.parent for path in tracked(package) if path.suffix == ".py"}
        missing = sorted(str(folder) for folder in folders if not (folder / "__init__.py").is_file())
        assert not missing, f"{missing} lack an __init__.py: setuptools leaves them out"


def test_every_other_file_is_package_data() -> None:
    data = PROJECT["package-data"]
    for package in ("exporter", "process", "receiver"):
        for path in tracked(package):
            if path.suffix == ".py":
                continue
            owner = next(parent for parent in path.parents if (parent / "__init__.py").is_file())
            name, patterns = str(path.relative_to(owner)), data.get(".".join(owner.parts), [])
            listed = any(fnmatch(name, pattern) for pattern in patterns)
            assert listed, f"pyproject.toml: [tool.setuptools.package-data] {'.'.join(owner.parts)!r} lacks {name}"
