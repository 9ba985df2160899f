"""What takes part in a measurement from a process of its own: functions, the service, and writers of the ledger."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import httpx

from ledger.application.watching import BatchDone
from ledger.store.database import Database
from scripts.benchmark.debits import Pools
from scripts.benchmark.processors import process_seconds
from service.bootstrap import open_ledger

COMMAND = Path(sys.executable).with_name("credit-ledger")
HOST = "127.0.0.1"
KEY = "the-key-of-the-benchmark"
LOOK_EVERY_SECONDS = 0.02


_spent: list[float] = []


def beside_seconds() -> float:
    """What functions beside this process have used of the processors, those that have ended; without their start."""
    return sum(_spent)


@contextmanager
def beside(function: Callable[..., None], *given: Any) -> Iterator[Connection]:
    """A function in a process of its own, and a pipe to it; its first argument is its own end of that."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    spent = context.Value("d", 0.0)
    process = context.Process(target=_run, args=(spent, function, theirs, *given), daemon=True)
    process.start()
    theirs.close()  # so that its end is told as the end of the pipe
    try:
        yield ours
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
        _spent.append(spent.value)


def _run(spent: "Synchronized[float]", function: Callable[..., None], *given: Any) -> None:
    begun = time.process_time()
    function(*given)
    spent.value = time.process_time() - begun


class Service:
    """`credit-ledger serve` on one port, however often it is started again; its log goes to a file. Needs /proc."""

    def __init__(self, database: Database) -> None:
        self.port = _free_port()
        self.memory_bytes_max = 0
        self.cpu_seconds = 0.0
        self.url = f"http://{HOST}:{self.port}"
        self._log = TemporaryFile()  # noqa: SIM115  # as long as the service may be started
        self._settings = {
            "LEDGER_DATABASE_URL": database.dsn,
            "LEDGER_SCHEMA": database.schema,
            "LEDGER_ADMIN_KEY": KEY,
            "LEDGER_HOST": HOST,
            "LEDGER_PORT": str(self.port),
        }

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process = subprocess.Popen(
            [COMMAND, "serve", "--json"], env=os.environ | self._settings, stdout=subprocess.PIPE, stderr=self._log
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self._log.seek(0)
            raise RuntimeError(f"the service did not start: {self._log.read().decode()[-2000:]}")

    def seconds(self) -> float | None:
        """What it has used of the processors since it was started last."""
        return process_seconds(self._process.pid)

    def wait_for_read_models(self) -> None:
        """Until nothing is left to be folded."""
        while True:
            found = httpx.get(f"{self.url}/readyz").json()
            if set(found["readModels"].values()) == {found["head"]}:
                return
            time.sleep(LOOK_EVERY_SECONDS)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        folder = Path("/proc", str(self._process.pid))
        peak = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmHWM:"))
        self.memory_bytes_max = max(self.memory_bytes_max, 1024 * int(peak.split()[1]))
        self.cpu_seconds += self.seconds() or 0.0
        self._process.send_signal(number)
        self._process.communicate()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.end()
        self._log.close()


def write_steadily(pipe: Connection, database: Database, pools: int, per_second: int, seconds: float) -> None:
    """So many debits a second: tells the instant of each event's commit, in ns of the monotonic clock, in order.

    A debit is sent when its time has come, whatever became of those before it.
    """
    committed: list[int] = []

    def watch(done: BatchDone) -> None:
        committed.extend([time.monotonic_ns()] * len(done.events))

    async def write(pools: Pools) -> None:
        loop = asyncio.get_running_loop()
        begun, writes = loop.time(), []
        for number in range(int(per_second * seconds)):
            await asyncio.sleep(max(0, begun + number / per_second - loop.time()))
            writes.append(asyncio.ensure_future(pools.ledger.execute(pools.command())))
        await asyncio.gather(*writes)

    with open_ledger(database.dsn, schema=database.schema, migrating=False, following=False, watcher=watch) as running:
        fresh = Pools(running.ledger, pools)
        committed.clear()
        pipe.send("ready")
        pipe.recv()
        asyncio.run(write(fresh))
    pipe.send(committed)


def write_at_once(pipe: Connection, database: Database, pools: int, callers: int, debits: int) -> None:
    """So many debits by so many callers, each waiting for its answer before it sends the next."""

    async def write(pools: Pools) -> None:
        left = iter(range(debits))

        async def call() -> None:
            for _ in left:
                await pools.ledger.execute(pools.command())

        await asyncio.gather(*(call() for _ in range(callers)))

    with open_ledger(database.dsn, schema=database.schema, migrating=False, following=False) as running:
        fresh = Pools(running.ledger, pools)
        pipe.send("ready")
        pipe.recv()
        asyncio.run(write(fresh))
    pipe.send(time.monotonic_ns())


def _free_port() -> int:
    with socket.socket() as place:
        place.bind((HOST, 0))
        port: int = place.getsockname()[1]
        return port
