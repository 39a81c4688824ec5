"""`python -m bench.receiver SECONDS`: a receiver of webhooks that answers 204 after this time.

It prints its port. Connections are kept alive, and any number of them wait at once.
"""

import asyncio
import sys

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH = b"content-length:"


class Receiver(asyncio.Protocol):
    """One connection. It reads no more of a request than its length."""

    def __init__(self, answers_after_s: float) -> None:
        self._answers_after_s, self._read = answers_after_s, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._read += data
        head, blank, body = self._read.partition(b"\r\n\r\n")
        if not blank:
            return
        length = int(head.lower().partition(_LENGTH)[2].split(b"\r\n")[0])
        if len(body) >= length:
            self._read = body[length:]
            loop = asyncio.get_running_loop()
            loop.call_later(self._answers_after_s, self._transport.write, ANSWER)


async def serve(answers_after_s: float) -> None:
    """Listen on a free port until the process is killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Receiver(answers_after_s), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
