"""What this machine takes to tell another process something, without the ledger: the yardsticks of a delivery."""

import socket
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import psycopg

from ledger.store.database import Database, Role
from scripts.benchmark.measure import Measurement
from scripts.benchmark.processes import HOST, beside

LOOK_EVERY_SECONDS = 0.05
TEXT = 1000 * "x"
"""About as long as a message."""


def by_notification(database: Database, per_second: int, seconds: float) -> Measurement:
    """From the commit of one row until another process, which listens, has read it."""
    with database.connect(Role.OWNER) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS news (number bigint PRIMARY KEY, text text)")
        connection.execute("TRUNCATE news")
        committed = []
        with beside(_listen, database, int(per_second * seconds)) as pipe:
            pipe.recv()
            begun = time.perf_counter()
            for number in _paced(per_second, seconds):
                connection.execute("INSERT INTO news VALUES (%s, %s)", (number, TEXT))
                committed.append(time.monotonic_ns())
                connection.execute("NOTIFY news")
            taken = time.perf_counter() - begun
            received = pipe.recv()
    latencies = [(there - here) / 1e9 for here, there in zip(committed, received, strict=True)]
    return Measurement(len(latencies), taken, latencies)


def by_socket(per_second: int, seconds: float) -> Measurement:
    """To another process by loopback TCP and back."""
    latencies = []
    with beside(_echo) as pipe, socket.create_connection((HOST, pipe.recv())) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.perf_counter()
        for _ in _paced(per_second, seconds):
            sent_at = time.perf_counter()
            connection.sendall(TEXT.encode())
            left = len(TEXT)
            while left:
                left -= len(connection.recv(left))
            latencies.append(time.perf_counter() - sent_at)
        taken = time.perf_counter() - begun
    return Measurement(len(latencies), taken, latencies)


def _paced(per_second: int, seconds: float) -> Iterator[int]:
    begun = time.monotonic()
    for number in range(int(per_second * seconds)):
        time.sleep(max(0, begun + number / per_second - time.monotonic()))
        yield number


def _listen(pipe: Connection, database: Database, count: int) -> None:
    received: list[int] = []
    with psycopg.connect(database.conninfo(Role.OWNER), autocommit=True) as connection:
        connection.execute("LISTEN news")
        pipe.send("ready")
        while len(received) < count:
            for _ in connection.notifies(timeout=LOOK_EVERY_SECONDS, stop_after=1):
                pass
            rows = connection.execute("SELECT text FROM news WHERE number >= %s", (len(received),)).fetchall()
            received += len(rows) * [time.monotonic_ns()]
    pipe.send(received)


def _echo(pipe: Connection) -> None:
    with socket.create_server((HOST, 0)) as server:
        pipe.send(server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while said := connection.recv(65536):
                connection.sendall(said)
