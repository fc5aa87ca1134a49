"""The error of a settings file, and a collection of several, so that all of them are shown at once."""

import contextlib
from collections.abc import Iterator


class SettingsError(Exception):
    """The file cannot be used; each of ``lines`` names file, line and fix and never a secret."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Findings:
    """Collects errors; ``refuse`` raises them as one."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, error: SettingsError) -> None:
        """Keep it, once."""
        self.lines += [line for line in error.lines if line not in self.lines]

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep a SettingsError of this block, and go on behind it."""
        try:
            yield
        except SettingsError as error:
            self.add(error)

    def refuse(self) -> None:
        """Raise what was collected; nothing happens if that is nothing."""
        if self.lines:
            raise SettingsError(*self.lines)
