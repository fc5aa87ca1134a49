"""Makes uvloop's event loop, which the extra `uvloop` installs."""

from asyncio import AbstractEventLoop

import uvloop


def new_event_loop() -> AbstractEventLoop:
    """Make one."""
    loop: AbstractEventLoop = uvloop.new_event_loop()
    return loop
