"""What both programs' command lines do alike: suggestions, closed pipes and exit codes."""

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from process.conversion import nearest

MISUSED = 2  # exit code of a wrong command line, as argparse has it
CLOSED_PIPE = 141  # 128 and SIGPIPE: what a shell shows of a program whose reader has gone
INTERRUPTED = 130  # 128 and SIGINT


def invoked(program: str, module: str) -> str:
    """Give what was typed to start this: the installed program, or else ``python -m module``."""
    return program if Path(sys.argv[0]).name == program else f"python -m {module}"


class Parser(argparse.ArgumentParser):
    """Names an unknown option first, and the one that is like it: it may be the one that is then said to be missing."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # argparse's own
        """Refuse options that this parser does not know; a subcommand's are its own parser's."""
        known = self._option_string_actions
        words = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:
            for word in (word.partition("=")[0] for word in itertools.takewhile(lambda word: word != "--", words)):
                if word.startswith("--") and not any(option.startswith(word) for option in known):
                    self.error(f"unknown option {word}{nearest(word, known)}")
        return super().parse_known_args(words, namespace)


def unknown_command(program: str, words: list[str], known: Iterable[str]) -> str:
    """Say that the first word is no command and which is like it; "" if it is one, or an option."""
    known = tuple(known)
    if not words or words[0].startswith("-") or words[0] in known:
        return ""
    suggestion = nearest(words[0], known) or f" (expected one of {', '.join(known)})"
    return f"{program}: unknown command {words[0]!r}{suggestion}"


def guarded(run: Callable[[], int]) -> int:
    """Run a program; a reader that closes the pipe (`| head -1`) and Ctrl-C end it without a traceback."""
    try:
        status = run()
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered goes nowhere, or Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    return status
