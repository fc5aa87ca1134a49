"""The command-line options that every benchmark takes."""

import argparse


def parser(description: str | None) -> argparse.ArgumentParser:
    """Give a parser that knows `--short`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--short",
        action="store_true",
        help="take about a second: shows that the benchmark runs, its figures mean nothing",
    )
    return made


def is_short(description: str | None) -> bool:
    """Read the command line of a benchmark that takes no other option."""
    return bool(parser(description).parse_args().short)
