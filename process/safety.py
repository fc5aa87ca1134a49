"""Finds secrets that work and should not be so: too short, or readable by every user of the machine."""

from pathlib import Path

from process.settings import Secret, SettingsError, Source, read_secret

SHORTEST_TOKEN = 16  # characters
_OTHERS = 0o004  # the bit of a file's mode by which everybody may read it
# Where the platform and not the user sets the mode, and only the container's own processes are.
_MOUNTED = ("/run/secrets/", "/var/run/secrets/")
_PROJECTED = "..data"  # how Kubernetes links what it mounts of a Secret


def text_of(source: Source, at: str, value: Secret | None, file: Path | None) -> str:
    """Read a secret; "" if there is none, or if it cannot be read, which others say."""
    try:
        secret = read_secret(source, at, value, file)
    except SettingsError:
        return ""
    return secret.reveal() if secret else ""


def too_short(text: str, shortest: int = SHORTEST_TOKEN) -> str:
    """Say how to mend a secret that can be guessed; "" if it is long enough."""
    if len(text) >= shortest:
        return ""
    return f"too short; use at least {shortest} random characters, as of `openssl rand -hex 32`"


def held_for_all(source: Source, at: str) -> tuple[str, bool] | None:
    """Say the same of the settings file, if the secret at this place stands in it."""
    found = readable_by_all(source.path) if source.holds(at) else None
    if found is None:
        return None
    return f"{found[0]}, or move the secret to a file: {at.rpartition('.')[2]}_file", found[1]


def readable_by_all(file: Path) -> tuple[str, bool] | None:
    """Say how to mend a file that everybody may read, and whether that is an error; it is none where it is mounted."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return None
    if not mode & _OTHERS:
        return None
    mounted = str(file).startswith(_MOUNTED) or (file.parent / _PROJECTED).exists()
    return f"{file} can be read by all users of this machine; chmod 600 it", not mounted
