"""Downloads Debian packages below this project: a private apt root, no root rights, signatures checked by apt."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

KEYRINGS = [
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
]


class AptError(Exception):
    """The packages cannot be fetched; the message says why."""


def os_release() -> dict[str, str]:
    """Read /etc/os-release."""
    path = Path("/etc/os-release")
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip('"') for key, _, value in pairs}


def mirror(folder: Path = Path("/etc/apt")) -> str | None:
    """Find the Debian mirror that this machine itself uses, in one-line or deb822 sources."""
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    texts = [p.read_text("utf-8") for p in files if p.is_file() and p.suffix in {".list", ".sources"}]
    uris = [uri for text in texts for uri in re.findall(r"https?://[^\s\]]+", re.sub(r"(?m)^#.*$", "", text))]
    return next((uri.rstrip("/") for uri in uris if re.search(r"/debian/?$", uri)), None)


class Apt:
    """One suite of the archive (or, with none, the machine's own sources), with its state below ``folder``."""

    def __init__(self, folder: Path, suite: str | None) -> None:
        if shutil.which("apt-get") is None:
            raise AptError("apt-get is not there")
        self._folder = folder.resolve()
        for name in ("state/lists/partial", "cache/archives/partial", "debs"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        status = self._folder / "state/status"
        status.touch()
        options = {
            "Dir::State": self._folder / "state",
            "Dir::State::status": status,
            "Dir::Cache": self._folder / "cache",
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        if suite is not None:
            options |= {"Dir::Etc::sourcelist": self._sources(suite), "Dir::Etc::sourceparts": "/dev/null"}
            options["APT::Default-Release"] = ""  # the machine's own choice is none of these sources: apt would refuse
        self._own, self._missing = suite is None, ""
        self._options = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def _sources(self, suite: str) -> Path:
        keyring, uri = next((path for path in KEYRINGS if path.exists()), None), mirror()
        if keyring is None or uri is None:
            raise AptError(f"cannot fetch from {suite}: this machine has no Debian mirror or no archive keyring")
        path = self._folder / "sources.list"
        path.write_text(f"deb [signed-by={keyring}] {uri} {suite} main\n", "utf-8")
        return path

    def update(self) -> None:
        """Fetch the package lists; of the machine's own sources, one that fails does not spoil the others."""
        try:
            self._run("update", "--error-on=any")
        except AptError as error:
            if not self._own:
                raise
            self._missing = f"; {error}"

    def download(self, packages: list[str]) -> list[Path]:
        """Fetch the .deb files of these packages, checked by apt against the signed lists."""
        for old in (self._folder / "debs").glob("*.deb"):
            old.unlink()
        try:
            self._run("download", *packages)
        except AptError as error:
            raise AptError(f"{error}{self._missing}") from error
        return sorted((self._folder / "debs").glob("*.deb"))

    def closure(self, packages: list[str]) -> list[Path]:
        """Fetch the .deb files of these packages and of all that they need, as for a machine that has nothing."""
        archives = self._folder / "cache/archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        self._run("install", "--download-only", "--yes", "--no-install-recommends", *packages)
        return sorted(archives.glob("*.deb"))

    def _run(self, *words: str) -> None:
        command = ["apt-get", "-q", *self._options, *words]
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            command, cwd=self._folder / "debs", env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "Err"))]
            raise AptError("; ".join(lines[:3]) or f"apt-get {words[0]} failed")


def check(deb: Path, pins: dict[str, str]) -> bool:
    """Compare with the pinned SHA-256; False if this version is not pinned, AptError if it differs."""
    name = deb.name.replace("%3a", ":")
    if name not in pins:
        return False
    actual = hashlib.sha256(deb.read_bytes()).hexdigest()
    if actual != pins[name]:
        raise AptError(f"{name} has SHA-256 {actual}, not the one pinned in deploy/local/pins.py; it is not used")
    return True


def unpack(deb: Path, folder: Path) -> None:
    """Unpack a .deb."""
    subprocess.run(["dpkg-deb", "-x", str(deb), str(folder)], check=True)
