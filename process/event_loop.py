"""Runs a program on the event loop of its command line, Python's own or uvloop's, and lets it collect rarely."""

import argparse
import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from process.optional import MissingExtraError, load
from process.settings import SettingsError

LOOPS = ("asyncio", "uvloop")
_COLLECT_AFTER = (10_000, 20, 50)  # objects, and collections of the younger generation; Python has 700, 10, 10
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


def collect_rarely() -> None:
    """Look for garbage in cycles more rarely, and never through what is there now: call it once all is set up.

    Python looks whenever there are 700 objects more: a tenth of a webhook's CPU went into that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
