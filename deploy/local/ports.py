"""Finds a TCP port on loopback that nothing listens on, and keeps it free for a minute."""

import socket


def free_port() -> int:
    """Give a port that the kernel gives to nobody else for a minute.

    A connection that its server closed stays on the port (TIME_WAIT), so that the kernel chooses other ones for who
    asks for any. Who asks for this one gets it with SO_REUSEADDR, which every server sets.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        server.accept()[0].close()
        client.recv(1)  # nothing: the server has closed first
        return int(server.getsockname()[1])
