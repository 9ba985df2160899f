"""A rebuild of every read model while 8 callers write and 8 readers read: what these notice of it.

The rebuild is the operator's command, in a process of its own. Each read asks three read models about one pool in one
snapshot: where they stand at one position, they must tell the same balance, and no position may ever go back.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.domain.values import Kind, PoolKey
from ledger.store.database import Database
from projections.balances.queries import pool_balance
from projections.entries.queries import EntriesFilter, page_of_entries
from projections.lots.queries import lots_of_pool
from projections.paging import Window
from projections.read_model import BALANCES, ENTRIES, LOTS, READ_MODELS
from projections.reading import Reader, Snapshot
from projections.rebuild import rebuild
from projections.runner import Runner
from scripts.benchmark.debits import Pools
from scripts.benchmark.measure import Measurement, progress
from service.bootstrap import RunningLedger

WRITERS = READERS = 8
POOLS = 64
COMMAND = Path(sys.executable).with_name("credit-ledger")
LAST = Window(1)


@dataclass
class Work:
    """What writers and readers saw; seconds of each write and read."""

    writes: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)
    stale: int = 0
    compared: int = 0
    """Reads whose read models stood at one position."""
    half_states: int = 0
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def data(self) -> dict[str, Any]:
        writes, reads = (Measurement(len(taken), self.seconds, taken) for taken in (self.writes, self.reads))
        return {
            "writes_per_second": writes.per_second,
            "write_p50_ms": writes.percentile_ms(0.50),
            "write_p99_ms": writes.percentile_ms(0.99),
            "reads_per_second": reads.per_second,
            "read_p99_ms": reads.percentile_ms(0.99),
            "reads": len(self.reads),
            "stale": self.stale,
            "compared": self.compared,
            "half_states": self.half_states,
            "errors": self.errors,
        }


def measure_at_work(running: RunningLedger, seconds: float) -> dict[str, Any]:
    """The same work without a rebuild and during one, and what the rebuild says of every read model."""
    for model in READ_MODELS:
        progress(f"bringing {model.name} live")
        rebuild(running.database, model, lambda step: None)
    with Runner(running.database), Reader(running.database, connections_max=READERS) as reader:
        pools = Pools(running.ledger, POOLS)
        ends_at = time.monotonic() + seconds
        progress(f"{WRITERS} writers and {READERS} readers")
        without = _work(reader, pools, lambda: time.monotonic() < ends_at)
        progress("the same during a rebuild of all read models")
        with _rebuilding(running.database) as process:
            during = _work(reader, pools, lambda: process.poll() is None)
            told, _ = process.communicate()
        assert process.returncode == 0, told
    return {"without": without.data(), "during": during.data(), "rebuilt": json.loads(told)}


def faults(measured: dict[str, Any]) -> list[str]:
    """What no reader or writer may notice."""
    seen = {name: [bool(work[name]) for work in (measured["without"], measured["during"])] for name in
            ("errors", "half_states")}  # fmt: skip
    return [f"{name.replace('_', ' ')} beside a rebuild" for name, each in seen.items() if any(each)]


def as_markdown(measured: dict[str, Any]) -> str:
    comparisons = [each["comparison"] for each in measured["rebuilt"]]
    rows = sum(each["rows_after"] for each in comparisons)
    differing = sum(each["differing"] for each in comparisons)
    lines = [
        "| 8 writers, 8 readers | writes/s | p50 ms | p99 ms | reads/s | p99 ms | stale | errors | half states |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in ("without", "during"):
        work = measured[name]
        lines.append(
            f"| {'during a rebuild' if name == 'during' else 'without'} | {work['writes_per_second']:,.0f} "
            f"| {work['write_p50_ms']:.1f} | {work['write_p99_ms']:.1f} | {work['reads_per_second']:,.0f} "
            f"| {work['read_p99_ms']:.1f} | {work['stale']:,} | {len(work['errors'])} "
            f"| {work['half_states']} of {work['compared']:,} |"
        )
    seconds = sum(each["seconds"] for each in measured["rebuilt"])
    lines += ["", f"{rows:,} rows of {len(comparisons)} read models rebuilt in {seconds:.0f} s, {differing} differ."]
    return "\n".join(lines)


def _rebuilding(database: Database) -> "subprocess.Popen[str]":
    given = {"LEDGER_DATABASE_URL": database.dsn, "LEDGER_SCHEMA": database.schema}
    return subprocess.Popen(
        [COMMAND, "projections", "rebuild", "--all", "--json"],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        text=True,
    )


def _work(reader: Reader, pools: Pools, goes_on: Callable[[], bool]) -> Work:
    work, threads = Work(), []
    for number in range(READERS):
        threads.append(threading.Thread(target=_read, args=(reader, pools, work, goes_on, number)))
        threads[-1].start()

    async def call() -> None:
        while goes_on():
            begun = time.perf_counter()
            await pools.ledger.execute(pools.command())
            work.writes.append(time.perf_counter() - begun)

    async def write() -> None:
        await asyncio.gather(*(call() for _ in range(WRITERS)))

    begun = time.perf_counter()
    asyncio.run(write())
    work.seconds = time.perf_counter() - begun
    for thread in threads:
        thread.join()
    return work


def _read(reader: Reader, pools: Pools, work: Work, goes_on: Callable[[], bool], number: int) -> None:
    seen = 0
    while goes_on():
        number += 1
        pool = PoolKey(Kind.CREDIT_GRANT, pools.holders[number % POOLS], "credits", None)
        begun = time.perf_counter()
        try:
            with reader.snapshot([BALANCES, LOTS, ENTRIES]) as snapshot:
                whole = _whole(snapshot, pool) and snapshot.position >= seen
                seen = snapshot.position
                work.stale += snapshot.stale
                work.compared += len(set(snapshot.positions.values())) == 1
                work.half_states += not whole
        except Exception as error:
            work.errors.append(repr(error))
        work.reads.append(time.perf_counter() - begun)


def _whole(snapshot: Snapshot, pool: PoolKey) -> bool:
    """Whether all that tells a pool's balance tells the same; where they stand at several positions they need not."""
    told = {
        pool_balance(snapshot, pool).balance,
        sum(lot.balance for lot in lots_of_pool(snapshot, pool)),
        page_of_entries(snapshot, EntriesFilter(pool.kind, pool.holder), LAST).rows[0].pool_balance,
    }
    return len(told) == 1 or len(set(snapshot.positions.values())) > 1
