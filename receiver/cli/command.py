"""What a command of the command line is, and where it writes."""

import argparse
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from process.settings import SettingsError

Clock = Callable[[], datetime]


class Command(NamedTuple):
    """How its command line looks, and what it does; ``run`` gives the exit status."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Clock], int]


def write_output(text: str, file: Path | None) -> None:
    """Write to the file that `--output` names, or to standard output; SettingsError if the file cannot be written."""
    if file is None:
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise SettingsError(f"--output {file}: {error.strerror}") from error
