"""One installation below data/: its ports, its secrets, and the configuration files written for them."""

import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "deploy/local"
DEFAULTS = {"exporter": 3001, "receiver": 9095, "prometheus": 9090, "alertmanager": 9093}
SECRETS = ("webhook-token", "api-token", "link-secret", "exporter-token")


class SiteError(Exception):
    """The programs cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class Site:
    """The folder and the ports of one run."""

    data: Path
    ports: dict[str, int]

    @property
    def shown(self) -> Path:
        """Give the folder relative to the project, as shown to people."""
        return self.data.relative_to(ROOT) if self.data.is_relative_to(ROOT) else self.data

    def url(self, name: str) -> str:
        """Give the address of a program."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def secret(self, name: str) -> Path:
        """Give the file of a secret."""
        return self.data / "secrets" / name


def ports() -> dict[str, int]:
    """Read the ports, EXPORTER_PORT and so on from the environment; SiteError when one is taken or invalid."""
    chosen: dict[str, int] = {}
    for name, default in DEFAULTS.items():
        variable = f"{name.upper()}_PORT"
        text = os.environ.get(variable) or str(default)
        if not (text.isascii() and text.isdigit() and 0 < int(text) <= 65535):  # noqa: PLR2004  # a port
            raise SiteError(f"invalid port {variable}={text!r} (expected 1 to 65535)")
        chosen[name] = int(text)
    for name, port in chosen.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                other = port + 10000 if port + 10000 < 65536 else port - 10000  # noqa: PLR2004  # a port
                fix = f"stop the program that uses it, or pick another port: make run {name.upper()}_PORT={other}"
                raise SiteError(f"port {port} ({name}) is already in use: {fix}") from None
    if len(set(chosen.values())) < len(chosen):
        raise SiteError("two programs have the same port; set different ones")
    return chosen


@contextlib.contextmanager
def occupied(site: Site) -> Iterator[None]:
    """Lock the folder: a second launcher would overwrite the files of the first."""
    site.data.parent.mkdir(parents=True, exist_ok=True)
    with site.data.with_name(f"{site.data.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SiteError(f"{site.shown} is in use by another launcher; stop that one first") from None
        yield


def prepare(site: Site) -> None:
    """Make the folders and secrets, and write the configuration files for these ports."""
    (site.data / "logs").mkdir(parents=True, exist_ok=True)
    (site.data / "secrets").mkdir(mode=0o700, exist_ok=True)
    for name in SECRETS:
        path = site.secret(name)
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(32) + "\n", "utf-8")
    for name in DEFAULTS:
        write(site, name, read(site, name))


def read(site: Site, name: str) -> Any:  # noqa: ANN401  # whatever the file holds
    """Read a shipped file of deploy/local with this site's addresses and paths in it."""
    text = (HERE / f"{name}.yml").read_text("utf-8")
    text = text.replace("../../data/run", str(site.data)).replace("../../rules", str(ROOT / "rules"))
    for other, port in DEFAULTS.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{site.ports[other]}")
    return yaml.safe_load(text)


def write(site: Site, name: str, content: object) -> None:
    """Write a configuration file below data/, with its origin in a comment."""
    head = f"# Written by the launcher from deploy/local/{name}.yml; overwritten at each start.\n"
    (site.data / f"{name}.yml").write_text(head + yaml.safe_dump(content, sort_keys=False, width=120), "utf-8")
