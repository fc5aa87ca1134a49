"""Imports a module by its name, and names the extra that is missing if it cannot.

The one place that does. What is optional (a channel, a store, error reports) stands in a module of its own that imports
its package at the head; so does what only one command needs. This is called once it is known to be wanted.
"""

import importlib
from types import ModuleType


class MissingExtraError(Exception):
    """A package is not installed; the text says how to install it."""


def load(module: str, extra: str = "") -> ModuleType:
    """Import ``module``; MissingExtraError if a package that it needs, and ``extra`` installs, is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not extra or error.name is None or module.startswith(error.name):
            raise  # the module itself is missing: no extra would help
        install = f"pip install 'heypeter-monitoring[{extra}]'"
        raise MissingExtraError(f"needs the package {error.name}, which is not installed: {install}") from error
