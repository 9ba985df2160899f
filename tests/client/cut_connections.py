"""A way to a service that is cut, or falls silent, after an exact number of bytes of its answers."""

import select
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PIECE_BYTES = 1 << 16
RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class CutConnections:
    """Listens at `url`. Each connection in turn is cut after the next number of `cuts`; when they are used up, none is.

    Every second cut is a reset, which takes what the reader has not read yet with it; the others are an end of file.
    With `silent`, nothing is cut: from there on the connection stays open, and nothing comes any more.
    """

    def __init__(self, url: str, cuts: Iterable[int], *, silent: bool = False) -> None:
        self.lead_to(url)
        self._cuts = iter(cuts)
        self._silent = silent
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._end, self._ended = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept)]
        self.asked: list[bytes] = []
        """The requests, as they came."""
        self.connected = 0
        self.open = 0
        """How many connections there are; `connected`: how many there were."""

    def lead_to(self, url: str) -> None:
        """Where connections lead from now on."""
        address = urlsplit(url)
        self._service = (address.hostname or "", address.port or 0)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.close()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._ended.close()

    def _accept(self) -> None:
        while True:
            readable, _, _ = select.select([self._listener, self._ended], [], [])
            if self._ended in readable:
                return
            client, _ = self._listener.accept()
            self.connected += 1
            self.open += 1
            thread = threading.Thread(target=self._relay, args=[client, next(self._cuts, None)])
            self._threads.append(thread)
            thread.start()

    def _relay(self, client: socket.socket, cut: int | None) -> None:
        try:
            with client, socket.create_connection(self._service) as service:
                for piece in self._answers(client, service):
                    if cut is not None and len(piece) >= cut:
                        client.sendall(piece[:cut])
                        self._cut(client)
                        return
                    cut = None if cut is None else cut - len(piece)
                    client.sendall(piece)
        except ConnectionError:
            pass  # the end of either side is the end of this connection
        finally:
            self.open -= 1

    def _answers(self, client: socket.socket, service: socket.socket) -> Iterator[bytes]:
        """What the service says, until one side ends."""
        while True:
            readable, _, _ = select.select([client, service, self._ended], [], [])
            if self._ended in readable:
                return
            if client in readable:
                piece = client.recv(PIECE_BYTES)
                if not piece:
                    return
                self.asked.append(piece)
                service.sendall(piece)
            if service in readable:
                piece = service.recv(PIECE_BYTES)
                if not piece:
                    return
                yield piece

    def _cut(self, client: socket.socket) -> None:
        if self._silent:
            select.select([client, self._ended], [], [])
        elif self.connected % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
