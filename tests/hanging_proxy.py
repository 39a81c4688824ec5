"""A TCP proxy before a server that can stop forwarding without closing anything, as a dead firewall."""

import selectors
import socket
import threading
from contextlib import suppress


class HangingProxy:
    """Listens on 127.0.0.1; `hang()` and `resume()` hold back every byte, and let go of it.

    `lose()`: what waits is lost for good, as after a firewall has forgotten its connections: new
    ones work, old ones never answer.
    """

    def __init__(self, host, port):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs = []
        self._flows = threading.Event()
        self._flows.set()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closed = True
        self._flows.set()
        self._listener.close()
        for one, other, _ in self._pairs:
            for end in (one, other):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def hang(self):
        self._flows.clear()

    def resume(self):
        self._flows.set()

    def lose(self):
        for pair in self._pairs:
            pair[2].set()

    def _accept(self):
        while not self._closed:
            with suppress(OSError):
                client, _ = self._listener.accept()
                self._flows.wait()
                server = socket.create_connection(self._target)
                pair = (client, server, threading.Event())
                self._pairs.append(pair)
                threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, client, server, is_lost):
        other = {client: server, server: client}
        with selectors.DefaultSelector() as selector, suppress(OSError, ValueError):
            for end in other:
                selector.register(end, selectors.EVENT_READ)
            while not self._closed:
                for key, _ in selector.select(0.2):
                    data = key.fileobj.recv(65536)
                    self._flows.wait()
                    if is_lost.is_set():
                        continue
                    other[key.fileobj].sendall(data)
                    if not data:
                        for end in other:
                            end.close()
                        return
