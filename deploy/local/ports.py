"""Finds a TCP port on loopback that nothing listens on."""

import socket


def free_port() -> int:
    """Give a port that is free now; another program may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
