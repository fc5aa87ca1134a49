"""Sends a Python server's events to the HeyPeter exporter; it reads the exporter's token and belongs on the server."""

from .answer import Outcome
from .client import Client, Extra, NotQueuedError, Settings
from .measure import Measure

__all__ = ["Client", "Extra", "Measure", "NotQueuedError", "Outcome", "Settings"]
