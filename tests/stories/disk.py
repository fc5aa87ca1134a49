"""A small disk of its own for a story: an image with ext4 in it, mounted where the machine lets us."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

SIZE = 32 << 20


@contextlib.contextmanager
def mounted(place: Path) -> Iterator[str]:
    """Mount a new disk at ``place`` until the block ends; gives "" or, where it cannot be done, the reason why not."""
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(SIZE)
    reason = _why_not(image, place)
    try:
        yield reason
    finally:
        if not reason:
            subprocess.run(["umount", "--lazy", place], check=True)


def _why_not(image: Path, place: Path) -> str:
    """Try it. What node_exporter is to see must be a real file system, for tmpfs is none to the rules."""
    if os.geteuid():
        return "only root may mount a disk image, and this is not root"
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if mkfs is None or shutil.which("mount") is None:
        return "there is no mkfs.ext4, or no mount, on this machine"
    for command in ([mkfs, "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"this machine mounts no disk image ({command[0]}: {' '.join(done.stderr.split())})"
    return ""


def fill(place: Path) -> None:
    """Write until nothing more fits."""
    with contextlib.suppress(OSError), (place / "core").open("wb", buffering=0) as file:  # ENOSPC is the aim
        while True:
            file.write(bytes(1 << 20))


def empty(place: Path) -> None:
    """Take it all away again."""
    (place / "core").unlink()
