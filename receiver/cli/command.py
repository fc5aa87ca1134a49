"""What a command of the command line is."""

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

Clock = Callable[[], datetime]


class Command(NamedTuple):
    """How its command line looks, and what it does; ``run`` gives the exit status."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Clock], int]
