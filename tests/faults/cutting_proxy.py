"""A proxy between a ledger and its server that cuts the connection at one exact message.

It reads the frames of PostgreSQL's protocol, so that "before COMMIT reached the server" and "after the server carried
out COMMIT, before its answer came back" are exact moments and no race.
"""

import contextlib
import os
import select
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

PIECE_BYTES = 1 << 16
WAIT_SECONDS_MAX = 60.0
REQUESTS = b"QPBdc"
"""The types of messages that may be cut at: statements, their preparation, their values; rows of a COPY and its end."""
ANSWERS = b"CG"
"""That a statement was carried out, that a COPY may begin."""


class Moment(Enum):
    """When to cut, seen from the message that is waited for."""

    BEFORE = "the message never reaches the server"
    AFTER = "the server has answered the message, and the answer never comes back"


@dataclass
class Cut:
    """One cut to come: at the client's next message that holds `message`, once the server says `answer` if AFTER.

    It lets as many such messages pass as `passing` says.
    """

    moment: Moment
    message: bytes
    answer: bytes
    refuse_afterwards: bool
    passing: int


class CuttingProxy:
    """Listens on a socket of its own; `dsn` leads through it to the server."""

    def __init__(self, dsn: str) -> None:
        self._server = conninfo_to_dict(dsn)
        self._folder = tempfile.mkdtemp(prefix="ledger-proxy-")
        self.dsn = make_conninfo(dsn, host=self._folder, port=5432, sslmode="disable")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(self._folder, ".s.PGSQL.5432"))
        self._listener.listen()
        self._end, self._ended = socket.socketpair()
        self._threads = [threading.Thread(target=self._accept)]
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._refuses = False
        self._done = threading.Event()

    def cut_next(
        self,
        moment: Moment,
        message: bytes = b"_COMMIT\0",  # the name that the writer has prepared it by
        answer: bytes = b"COMMIT\0",
        *,
        refuse_afterwards: bool = False,
        passing: int = 0,
    ) -> None:
        """Cut once, at the next such message. With `refuse_afterwards` nobody gets through until `accept`."""
        with self._lock:
            self._done.clear()
            self._cut = Cut(moment, message, answer, refuse_afterwards, passing)

    @property
    def has_cut(self) -> bool:
        return self._done.is_set()

    def wait_until_cut(self) -> None:
        assert self._done.wait(WAIT_SECONDS_MAX), "the message never came by"

    def refuse(self) -> None:
        """Let no new connection through; those that are open stay."""
        self._refuses = True

    def accept(self) -> None:
        self._refuses = False

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
        shutil.rmtree(self._folder)

    def _accept(self) -> None:
        while True:
            readable, _, _ = select.select([self._listener, self._ended], [], [])
            if self._ended in readable:
                return
            client, _ = self._listener.accept()
            if self._refuses:
                client.close()
                continue
            thread = threading.Thread(target=self._relay, args=[client, self._connect()])
            self._threads.append(thread)
            thread.start()

    def _connect(self) -> socket.socket:
        host, port = str(self._server.get("host") or "localhost"), int(self._server.get("port") or 5432)
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        """Pass messages on in both directions until one side closes, or the cut comes."""
        with client, server, contextlib.suppress(ConnectionError):
            requests, answers = Frames(first_is_untyped=True), Frames()
            cutting: Cut | None = None
            while True:
                readable, _, _ = select.select([client, server, self._ended], [], [])
                if self._ended in readable:
                    return
                if client in readable:
                    piece = client.recv(PIECE_BYTES)
                    if not piece:
                        return
                    for frame in requests.add(piece):
                        cutting = cutting or self._taken(frame)
                        if cutting is not None and cutting.moment is Moment.BEFORE:
                            self._cut_now(cutting)
                            return
                        server.sendall(frame)
                if server in readable:
                    piece = server.recv(PIECE_BYTES)
                    if not piece:
                        return
                    for frame in answers.add(piece):
                        if cutting is None:
                            client.sendall(frame)
                        elif frame[:1] in ANSWERS and cutting.answer in frame:
                            self._cut_now(cutting)
                            return

    def _taken(self, frame: bytes) -> Cut | None:
        """The cut, if this message is the one it waits for; only one connection gets it."""
        with self._lock:
            cut = self._cut
            if cut is None or frame[:1] not in REQUESTS or cut.message not in frame:
                return None
            if cut.passing:
                cut.passing -= 1
                return None
            self._cut = None
            return cut

    def _cut_now(self, cut: Cut) -> None:
        self._refuses = cut.refuse_afterwards
        self._done.set()


class Frames:
    """Takes a stream of bytes apart into whole messages: a type, a length of four bytes, the rest."""

    def __init__(self, *, first_is_untyped: bool = False) -> None:
        self._bytes = b""
        self._type_bytes = 0 if first_is_untyped else 1

    def add(self, piece: bytes) -> Iterator[bytes]:
        self._bytes += piece
        while len(self._bytes) >= self._type_bytes + 4:
            length = self._type_bytes + int.from_bytes(self._bytes[self._type_bytes : self._type_bytes + 4], "big")
            if len(self._bytes) < length:
                return
            frame, self._bytes = self._bytes[:length], self._bytes[length:]
            self._type_bytes = 1
            yield frame
