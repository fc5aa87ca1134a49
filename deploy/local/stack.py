"""Fills .stack/bin with Prometheus, Alertmanager and the exporters, without touching the system.

Programs of a good version on PATH are linked; otherwise Debian's packages are downloaded below .stack and unpacked
there, from the newest suite whose programs run on this machine. A second run finds everything and does nothing.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.apt import Apt, AptError, check, os_release, unpack
from deploy.local.pins import SHA256

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / ".stack"

# program -> (Debian package, its name in the package, oldest good version)
CORE = {
    "prometheus": ("prometheus", "prometheus", (2, 42)),
    "promtool": ("promtool", "promtool", (2, 42)),
    "alertmanager": ("prometheus-alertmanager", "prometheus-alertmanager", (0, 25)),
    "amtool": ("prometheus-alertmanager", "amtool", (0, 25)),
}
EXPORTERS = {
    f"{name}_exporter": (f"prometheus-{name}-exporter", f"prometheus-{name}-exporter", (0, 0))
    for name in ("node", "postgres", "redis", "nginx", "blackbox")
}
EXPORTERS["pushgateway"] = (
    "prometheus-pushgateway",
    "prometheus-pushgateway",
    (0, 0),
)  # what `make bench` compares with
Programs = dict[str, tuple[str, str, tuple[int, int]]]

# Debian's Alertmanager has this folder compiled in and does not start without the templates in it. Our copy has the
# 34 bytes replaced by a path of the same length that leads through an open file descriptor to the unpacked folder:
# it needs no root, no namespaces and no fixed place, and it survives moving the project.
COMPILED_IN = b"/usr/share/prometheus/alertmanager"
DESCRIPTOR = b"/proc/self/fd/9".ljust(len(COMPILED_IN), b"/")
LAUNCHER = """#!/bin/sh
# Opens the template folder that Debian's Alertmanager has compiled in; see deploy/local/stack.py.
exec 9<"$(dirname "$0")/../root/usr/share/prometheus/alertmanager"
exec "$(dirname "$0")/../root/usr/bin/{name}" "$@"
"""


def version(program: Path | str) -> tuple[int, int] | None:
    """Ask a program for its version; None if it does not run here (a newer libc, another processor)."""
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"(\d+)\.(\d+)[\d.]*", done.stdout + done.stderr)
    return (int(match[1]), int(match[2])) if done.returncode == 0 and match else None


def from_path(programs: Programs) -> dict[str, Path] | None:
    """Find all of the programs on PATH, each in a good version; else none of them, so that versions match."""
    path_of_program: dict[str, Path] = {}
    for name, (_, packaged, oldest) in programs.items():
        place = shutil.which(name) or shutil.which(packaged)
        if place is None or STACK in Path(place).parents or (version(place) or (-1, 0)) < oldest:
            return None
        path_of_program[name] = Path(place)
    return path_of_program


def suites() -> list[str | None]:
    """Return the suites to try, newest first; None means the machine's own sources."""
    chosen = os.environ.get("HEYPETER_STACK_SUITE")
    if chosen:
        return [chosen]
    return ["sid", "trixie", None] if os_release().get("ID") == "debian" else [None]


def fetch(programs: Programs, suite: str | None) -> None:
    """Download, check, unpack, try, and only then put in place; AptError leaves what was there."""
    name = suite or "this machine's own packages"
    print(f"  fetching from {name} …", flush=True)
    apt = Apt(STACK / "apt" / (suite or "own"), suite)
    apt.update()
    packages = sorted({package for package, _, _ in programs.values()})
    try:
        debs = apt.download(packages)
    except AptError:
        if "promtool" not in packages:
            raise
        packages.remove("promtool")  # before trixie it was part of the package prometheus
        debs = apt.download(packages)
    fresh = STACK / f"fresh-{os.getpid()}"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for deb in debs:
            if not check(deb, SHA256):
                print(f"  {deb.name}: no pinned checksum; verified by the archive's signature only")
            unpack(deb, fresh)
        for program, (_, packaged, oldest) in programs.items():
            if (version(fresh / "usr/bin" / packaged) or (-1, 0)) < oldest:
                raise AptError(f"{program} of {name} does not run here")
        _redirect_templates(fresh)
        _try_templates(fresh)
        shutil.rmtree(STACK / "root", ignore_errors=True)
        fresh.rename(STACK / "root")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        for deb in debs:
            deb.unlink()


def _redirect_templates(root: Path) -> None:
    for name in ("prometheus-alertmanager", "amtool"):
        binary = root / "usr/bin" / name
        if binary.exists():
            content = binary.read_bytes()
            binary.write_bytes(content.replace(COMPILED_IN, DESCRIPTOR))


def _try_templates(root: Path) -> None:
    """Start Alertmanager until it listens: fails for one that looks elsewhere for its templates."""
    binary = root / "usr/bin/prometheus-alertmanager"
    (root / "check.yml").write_text("{route: {receiver: nobody}, receivers: [{name: nobody}]}", "utf-8")
    places = [f"--config.file={root / 'check.yml'}", f"--storage.path={root / 'check'}"]
    addresses = ["--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]
    opened = 'exec 9<"$1"; shift; exec timeout 20 "$@"'
    command = ["sh", "-c", opened, "sh", str(root) + COMPILED_IN.decode(), str(binary), *places, *addresses]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        for line in process.stderr or ():
            said = line.strip()
            if "Listening on" in said:
                process.terminate()
                return
    raise AptError(f"this Alertmanager does not start: {said}")


def link(places: dict[str, Path]) -> None:
    """Recreate .stack/bin."""
    fresh = STACK / f"bin-{os.getpid()}"
    fresh.mkdir(parents=True)
    for name, place in places.items():
        target = fresh / name
        if place.name in {"prometheus-alertmanager", "amtool"} and STACK in place.parents:
            target.write_text(LAUNCHER.format(name=place.name), "utf-8")
            target.chmod(0o755)
        else:
            target.symlink_to(os.path.relpath(place, STACK / "bin") if STACK in place.parents else place)
    shutil.rmtree(STACK / "bin", ignore_errors=True)
    fresh.rename(STACK / "bin")


def complete(programs: Programs) -> bool:
    """Say whether everything is there, of the chosen suite, and runs."""
    chosen = os.environ.get("HEYPETER_STACK_SUITE", "")
    stamp = STACK / "suite"
    if chosen and (not stamp.exists() or stamp.read_text("utf-8").strip() != chosen):
        return False
    return all((version(STACK / "bin" / name) or (-1, 0)) >= oldest for name, (*_, oldest) in programs.items())


def install(programs: Programs) -> None:
    """Fetch the programs from the first source that has them; AptError lists why each failed."""
    for leftover in [*STACK.glob("fresh-*"), *STACK.glob("bin-*")]:
        shutil.rmtree(leftover)  # of a run that was killed
    path_of_program = None if os.environ.get("HEYPETER_STACK_SUITE") else from_path(programs)
    if path_of_program:
        link(path_of_program)
        (STACK / "suite").write_text("PATH", "utf-8")
        return
    reasons = []
    for suite in suites():
        try:
            fetch(programs, suite)
        except (AptError, subprocess.CalledProcessError, OSError) as error:
            reasons.append(f"{suite or 'own packages'}: {error}")
            continue
        link({name: STACK / "root/usr/bin" / packaged for name, (_, packaged, _) in programs.items()})
        (STACK / "suite").write_text(suite or "own", "utf-8")
        return
    raise AptError("; ".join(reasons))


def main() -> int:
    """Give the exit status; 1 with a message when the programs cannot be fetched."""
    parser = argparse.ArgumentParser(description="Fetch Prometheus, Alertmanager and the exporters into .stack/.")
    parser.add_argument(
        "--exporters", action="store_true", help="and the node, postgres, redis, nginx, blackbox exporters"
    )
    wanted: Programs = {**CORE, **(EXPORTERS if parser.parse_args().exporters else {})}
    STACK.mkdir(exist_ok=True)
    with (STACK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once: the second waits, and finds everything there
        if not complete(wanted):
            present = {n: p for n, p in {**CORE, **EXPORTERS}.items() if n in wanted or (STACK / "bin" / n).exists()}
            try:
                try:
                    install(present)
                except AptError as error:
                    if present == CORE:
                        raise
                    print(f"  without the exporters, which could not be fetched ({error})")
                    wanted = CORE
                    install(CORE)
            except AptError as error:
                print(
                    f"stack: Prometheus >= 2.42 and Alertmanager >= 0.25 are not on PATH and could not be fetched "
                    f"({error}).\nInstall them (Debian, Ubuntu: sudo apt-get install prometheus "
                    f"prometheus-alertmanager; elsewhere: prometheus.io/download), then run this again.",
                    file=sys.stderr,
                )
                return 1
    versions = {name: ".".join(map(str, version(STACK / "bin" / name) or ())) for name in wanted}
    print("stack: " + ", ".join(f"{name} {number}" for name, number in versions.items()))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # nothing is left half done: what was fetched is put in place at the end
