"""Builds the packages and installs the wheel into an empty environment, without a network."""

import shutil
import subprocess
import sys
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and from it the wheel, with the locked tools; gives both. A build leaves files in its tree."""
    tree = folder / "tree"
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in done.stdout.splitlines():
        if not name.startswith(("docs/", "grafana/", "rules/", ".")) and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    command = [sys.executable, "-m", "build", "--no-isolation", f"--outdir={folder}", str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def metadata(wheel: Path) -> Message:
    """Read what the wheel says of itself."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def required(wheel: Path) -> dict[str, Distribution]:
    """List what has to be installed with the wheel, without any extra, by canonical name."""
    by_name: dict[str, Distribution] = {}
    waiting = [(Requirement(line), "") for line in metadata(wheel).get_all("Requires-Dist", [])]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        one, name = distribution(requirement.name), canonicalize_name(requirement.name)
        assert requirement.specifier.contains(one.version), f"{requirement}: .venv has {one.version}"
        if name not in by_name or requirement.extras:
            by_name[name] = one
            lines = [Requirement(line) for line in one.requires or ()]
            waiting += [(line, extra) for line in lines for extra in ("", *requirement.extras)]
    return by_name


def link(one: Distribution, site: Path) -> None:
    """Make a distribution of this environment importable in another one."""
    for top in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(one.locate_file(top))).resolve())


def install(wheel: Path, folder: Path, python: Path = Path(sys.executable)) -> Path:
    """Make an environment with the wheel and what it requires and nothing else; gives its folder of programs.

    ``python`` must be of the same version as this one.
    """
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for one in required(wheel).values():
        link(one, site)
    pip = [sys.executable, "-m", "pip", f"--python={folder / 'bin/python'}", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-index", "--no-deps", str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    return folder / "bin"
