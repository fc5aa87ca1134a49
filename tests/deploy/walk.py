"""Runs the commands of a page of the documentation, as a reader types them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language, without their indentation."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```$", (ROOT / "docs" / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return ["\n".join(line.removeprefix(indent) for line in text.split("\n")) for indent, text in found]


def typed(page: str) -> list[str]:
    """The commands of a page, one a line."""
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line]


class Walk:
    """A terminal: a folder to be in, and what was started in the background.

    ``programs`` is the environment with the wheel, on the PATH once the page has installed it. ``edits`` says what
    becomes of a file that is opened with nano, ``here`` turns the page's addresses into ours.
    """

    def __init__(
        self, home: Path, programs: Path, here: Mapping[str, str], edits: Mapping[str, Callable[[Path], None]]
    ) -> None:
        self.folder, self._programs, self._here, self._edits = home, programs, here, edits
        self._environment = {"HOME": str(home), "LANG": "C.UTF-8", "PATH": f"{ROOT / '.stack/bin'}:/usr/bin:/bin"}
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)

    def translated(self, text: str) -> str:
        """The page's addresses and paths as they are here."""
        for old, new in self._here.items():
            text = text.replace(old, new)
        return text

    def type(self, line: str) -> str:
        """Run one line; gives what it prints, and fails if it does."""
        words = line.split()
        if line == "pipx install heypeter-monitoring":
            self._environment["PATH"] = f"{self._programs}:{self._environment['PATH']}"
            return ""
        if words[0] == "cd":
            self.folder /= words[1]
            return ""
        if words[0] == "nano":
            self._edits[words[1]](self.folder / self.translated(words[1]))
            return ""
        if words[-1] == "&":
            return self._start(self.translated(line.removesuffix("&")))
        done = subprocess.run(
            ["/bin/sh", "-c", self.translated(line)], cwd=self.folder, env=self._environment, timeout=PATIENCE,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _start(self, line: str) -> str:
        """Start a program, and go on when it says that it listens."""
        log = self.folder / f"{len(self._running)}.log"
        with log.open("w") as out:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {line}"], cwd=self.folder, env=self._environment, stdout=out, stderr=out,
                text=True, start_new_session=True,
            )  # fmt: skip
        self._running.append(process)
        end = time.monotonic() + PATIENCE
        while "listens on" not in log.read_text("utf-8"):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < end, log.read_text("utf-8")
            time.sleep(0.05)
        return log.read_text("utf-8")
