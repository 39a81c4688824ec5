"""Ports on loopback: the requested one, else the last one if it is free, else any."""

import socket
from collections.abc import Callable
from typing import TypeVar

from devstack.errors import ChildFailed, PortTaken
from devstack.folder import DataFolder

HOST = "127.0.0.1"
# Another program may take a port after we chose it and before the server does; three times in a row
# is no coincidence.
ATTEMPTS = 3

Started = TypeVar("Started")


def is_free(port: int) -> bool:
    """Whether a port on loopback is free right now."""
    with socket.socket() as probe:
        # As servers do: ports closed recently count as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port(folder: DataFolder, name: str, wanted: int, *, usual: int = 0) -> int:
    """Choose a port and store it: `wanted` (0: any), else the last one, `usual`, or any.

    Raises PortTaken if `wanted` is not free.
    """
    if wanted and not is_free(wanted):
        raise PortTaken(name=name, port=wanted)
    candidates = (wanted, folder.ports().get(name, 0), usual)
    port = next((port for port in candidates if port and is_free(port)), None) or _any_port()
    folder.remember_port(name, port)
    return port


def start_on_port(
    folder: DataFolder, name: str, wanted: int, start: Callable[..., Started]
) -> Started:
    """Start a server, on another port if its own was taken meanwhile.

    Raises PortTaken or ChildFailed.
    """
    for _ in range(ATTEMPTS - 1):
        port = choose_port(folder, name, wanted)
        try:
            return start(port=port)
        except ChildFailed:
            if wanted or is_free(port):  # the port was not the cause
                raise
    return start(port=choose_port(folder, name, wanted))


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
