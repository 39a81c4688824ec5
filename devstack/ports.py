"""Picks ports on loopback: the one asked for, else the last one if it is still free, else any."""

import socket
from collections.abc import Callable
from typing import TypeVar

from devstack.errors import ChildFailed, PortTaken
from devstack.folder import DataFolder

HOST = "127.0.0.1"
# Between our picking a free port and the server's taking it, another program may take it; thrice is
# no accident.
ATTEMPTS = 3

Started = TypeVar("Started")


def is_free(port: int) -> bool:
    """At this moment, on loopback."""
    with socket.socket() as probe:
        # As servers do: ports lately closed count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port(folder: DataFolder, name: str, wanted: int, *, usual: int = 0) -> int:
    """`wanted` (0: any) decides; then the remembered one, `usual`, any.

    Remembers it. Raises PortTaken.
    """
    if wanted and not is_free(wanted):
        raise PortTaken(name, wanted)
    candidates = (wanted, folder.ports().get(name, 0), usual)
    port = next((port for port in candidates if port and is_free(port)), None) or _any_port()
    folder.remember_port(name, port)
    return port


def start_on_port(
    folder: DataFolder, name: str, wanted: int, start: Callable[[int], Started]
) -> Started:
    """Starts a server, again elsewhere if somebody snatched its port.

    Raises PortTaken, ChildFailed.
    """
    for _ in range(ATTEMPTS - 1):
        port = choose_port(folder, name, wanted)
        try:
            return start(port)
        except ChildFailed:
            if wanted or is_free(port):  # then the port was not the trouble
                raise
    return start(choose_port(folder, name, wanted))


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
