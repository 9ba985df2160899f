"""A program for tests to kill, stop and race: it writes to a ledger, or tails it, in processes of its own.

`python -m tests.faults.writing_program <socket>` imports everything once and then forks a process for each order that
comes over the socket: JSON, and the end of a pipe to report to. It opens no thread and no connection before it forks.
"""

import asyncio
import hashlib
import itertools
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Any

from ledger.application import ConsumeCredits, CreditLedger, Receipt
from ledger.store.database import Database, Role

HOLDERS = 4
AMOUNT = 1
ORDER_BYTES_MAX = 65_536
TAIL = (
    "SELECT position, transaction_id, stream_id, version, amount, pool_balance FROM movements "
    "WHERE position > %s ORDER BY position"
)


def holder_of(key: str) -> str:
    """The holder whose credits the command with this key uses: all processes share a few."""
    return f"holder {int(key.split('-')[1]) % HOLDERS}"


def command_of(key: str) -> ConsumeCredits:
    """The command that belongs to a key; `key` is <program>-<caller>-<call>, in lists with -<place> behind it."""
    return ConsumeCredits(holder=holder_of(key), currency="credits", amount=AMOUNT, idempotency_key=key)


def keys_of_call(program: str, caller: int, call: int, list_length: int) -> list[str]:
    """The keys of one call; a list of length 0 is a single command."""
    if list_length == 0:
        return [f"{program}-{caller}-{call}"]
    return [f"{program}-{caller}-{call}-{place}" for place in range(list_length)]


def digest_of(rows: Iterable[dict[str, Any]]) -> str:
    """One hash for rows of the log, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(tuple(row.values())).encode())
    return digest.hexdigest()


def tell(report: int, lines: str) -> None:
    """Write all of it: a write to a pipe that is full comes back early when the process is stopped and resumed."""
    left = lines.encode()
    while left:
        left = left[os.write(report, left) :]


def write(database: Database, report: int, orders: dict[str, Any]) -> None:
    """Consume with many callers; each reports key and transaction id of every answer before it goes on."""
    calls = orders.get("calls")

    async def caller(ledger: CreditLedger, number: int, list_length: int) -> None:
        for call in itertools.count() if calls is None else range(calls):
            keys = keys_of_call(orders["program"], number, call, list_length)
            outcomes = await ledger.execute_many([command_of(key) for key in keys])
            lines = []
            for key, outcome in zip(keys, outcomes, strict=True):
                if isinstance(outcome, Receipt):
                    lines.append(f"ack {key} {outcome.transaction_id}\n")
                else:
                    lines.append(f"failed {key} {outcome!r}\n")
            tell(report, "".join(lines))

    async def all_callers() -> None:
        with CreditLedger(database) as ledger:
            lengths = [0] * orders["singles"] + [orders["list_length"]] * orders["lists"]
            await asyncio.gather(*[caller(ledger, number, length) for number, length in enumerate(lengths)])

    asyncio.run(all_callers())


def tail(database: Database, report: int, orders: dict[str, Any]) -> None:
    """Follow the log from its first position to `until`, and report what was read; stop at a gap."""
    with database.connect(Role.READER) as connection:
        connection.execute(f"LISTEN {database.schema}_events")
        rows: list[dict[str, Any]] = []
        polls = 0
        while len(rows) < orders["until"]:
            found = connection.execute(TAIL, [len(rows)]).fetchall()
            polls += bool(found)
            for row in found:
                if row["position"] != len(rows) + 1:
                    tell(report, f"failed position {row['position']} came after {len(rows)}\n")
                    return
                rows.append(row)
            if not found:
                for _ in connection.notifies(timeout=0.02, stop_after=1):
                    pass
        tell(report, f"ack tail-{polls} {digest_of(rows)}\n")


def serve(orders_from: socket.socket) -> None:
    """Fork a process for each order, until the other side closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: their pipes tell when they ended
    while True:
        select.select([orders_from], [], [])
        message, descriptors, _, _ = socket.recv_fds(orders_from, ORDER_BYTES_MAX, 1)
        if not message:
            return
        [report] = descriptors
        if os.fork() == 0:
            orders_from.close()
            orders = json.loads(message)
            tell(report, f"pid {os.getpid()}\n")
            work = {"write": write, "tail": tail}[orders["work"]]
            try:
                work(Database(orders["dsn"], orders["schema"]), report, orders)
            except BaseException as error:
                tell(report, f"failed {error!r}".replace("\n", " ") + "\n")
                os._exit(1)
            os._exit(0)
        os.close(report)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
