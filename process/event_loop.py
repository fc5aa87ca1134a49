"""Runs a program on the event loop of its command line: Python's own, or uvloop's (docs/scaling.md has the figures)."""

import argparse
import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from process.optional import MissingExtraError, load
from process.settings import SettingsError

LOOPS = ("asyncio", "uvloop")
_T = TypeVar("_T")


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add --event-loop."""
    about = "asyncio (default), or uvloop, which takes less CPU for many small requests and needs the extra `uvloop`"
    parser.add_argument("--event-loop", dest="loop", choices=LOOPS, default=LOOPS[0], help=about)


def run(program: Coroutine[Any, Any, _T], loop: str) -> _T:
    """Run until the program ends; SettingsError if uvloop is asked for and not installed."""
    try:
        factory = None if loop == LOOPS[0] else load("process.uvloop_loop", "uvloop").new_event_loop
    except MissingExtraError as error:
        program.close()
        raise SettingsError(f"--event-loop={loop} {error}") from error
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(program)
