"""Folds in processes of their own: one process reads the lines and checks them as a whole, the others fold them."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple, Protocol
from zlib import crc32

from ledger.domain.audit.findings import Findings
from ledger.domain.audit.fold import Fold, Totals
from ledger.domain.audit.lines import Line
from ledger.domain.audit.order import Order, Repeats
from projections.audit.events import event_of_line
from projections.audit.states import Mark, Marked, look

if TYPE_CHECKING:  # the source, and the database with it, is the reading process's alone
    from projections.audit.sources import Source

HOLDER = Line._fields.index("holder")
ALONE_EVENTS_MAX = 50_000
"""So few events are folded here: to start a process takes longer."""
PIPE_BYTES = 1 << 19
"""On its way to a process: whoever reads is a little ahead of whoever folds, so that neither waits for the other."""
Told = Callable[[int, int], None]
"""Is told how far a replay is of how much."""


class Folded(NamedTuple):
    """What a fold came to, and what it had at each mark."""

    findings: Findings
    totals: Totals
    marked: Sequence[Marked]


class Passed(NamedTuple):
    """How many events and transactions there were up to a mark, and the SHA-256 of all their lines, by where they are
    from: an export's lines are not the database's to the byte."""

    events: int
    transactions: int
    sha256: Mapping[str, str]


class Replayed(NamedTuple):
    """What a replay of all lines came to: the last position and when it was recorded, and by mark what there was."""

    position: int
    recorded_at: str
    passed: Passed
    findings: Findings
    totals: Totals
    at_marks: Mapping[int, tuple[Passed, Marked]]
    """By position."""
    processes: int


class FoldingEnded(Exception):
    """A process that folds has ended before it was told to: killed for want of memory, say."""


class Folder(Protocol):
    """Somebody who folds the lines of some holders."""

    def take(self, block: bytes) -> None: ...

    def mark(self, mark: Mark) -> None: ...

    def finish(self) -> Folded: ...


def fold_all(source: "Source", marks: Sequence[Mark], processes: int, told: Told) -> Replayed:
    """Fold all lines of a source, in so many processes at most, and look at the folds at these marks, in order."""
    if source.until <= ALONE_EVENTS_MAX:
        processes = 1
    order, digest, passed = Order(), hashlib.sha256(), []

    def passed_so_far() -> Passed:
        return Passed(order.events, order.transactions, {source.kind: digest.hexdigest()})

    with ExitStack() as stack:
        others = [stack.enter_context(ProcessFolder()) for _ in range(processes - 1)]
        refunded = source.refunded()  # while the others start
        folders: list[Folder] = [other.begun(refunded) for other in others] or [LocalFolder(refunded)]
        for lines, mark in _stretches(source.blocks(), marks):
            order.take(lines)
            digest.update(b"".join(lines))
            _hand_out(folders, lines)
            if mark is not None:
                passed.append(passed_so_far())
                for folder in folders:
                    folder.mark(mark)
            told(order.position, source.until)
        suspects = order.finish()
        folded = [folder.finish() for folder in folders]
    findings = order.findings
    findings.add(each.findings for each in folded)
    if suspects:
        repeats = Repeats(findings, suspects)
        for block in source.blocks():
            repeats.take(block)
    totals, marked = folded[0].totals, list(folded[0].marked)
    for each in folded[1:]:
        totals = totals.plus(each.totals)
        marked = [one.plus(other) for one, other in zip(marked, each.marked, strict=True)]
    return Replayed(
        order.position, order.recorded_at, passed_so_far(), findings, totals,
        dict(zip((mark.position for mark in marks), zip(passed, marked, strict=True), strict=True)), processes,
    )  # fmt: skip


def _stretches(blocks: Iterator[list[bytes]], marks: Sequence[Mark]) -> Iterator[tuple[Sequence[bytes], Mark | None]]:
    """The lines, cut at the marks; all marks are told, in order, also those that no line comes to."""
    coming = list(marks)
    for block in blocks:
        lines = block
        while coming and _position(lines[-1]) > coming[0].position:
            reached = next(place for place, line in enumerate(lines) if _position(line) > coming[0].position)
            yield lines[:reached], coming.pop(0)
            lines = lines[reached:]
        yield lines, None
    for mark in coming:
        yield (), mark


def _position(line: bytes) -> int:
    return int(line[: line.index(b"\t")])


def _hand_out(folders: Sequence[Folder], lines: Sequence[bytes]) -> None:
    """All lines of a holder to the same folder."""
    if len(folders) == 1:
        folders[0].take(b"".join(lines))
        return
    parts: list[list[bytes]] = [[] for _ in folders]
    for line in lines:
        holder = line.split(b"\t", HOLDER + 1)[HOLDER]
        parts[crc32(holder) % len(folders)].append(line)
    for folder, part in zip(folders, parts, strict=True):
        folder.take(b"".join(part))


class LocalFolder:
    """Folds here."""

    def __init__(self, refunded: Set[str]) -> None:
        self._fold = Fold(event_of_line, refunded)
        self._marked: list[Marked] = []

    def take(self, block: bytes) -> None:
        lines = block.decode().split("\n")
        lines.pop()  # behind the last line's end
        self._fold.take(lines)

    def mark(self, mark: Mark) -> None:
        self._marked.append(look(self._fold, mark))

    def finish(self) -> Folded:
        return Folded(self._fold.finish(), self._fold.totals(), self._marked)


class ProcessFolder:
    """Folds in a process of its own, which ends with this one."""

    def __enter__(self) -> "ProcessFolder":
        command = [sys.executable, "-P", "-m", __package__]
        self._process = subprocess.Popen(  # noqa: S603  # ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=PIPE_BYTES
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders = Connection(os.dup(self._process.stdin.fileno()), readable=False)
        self._answers = Connection(os.dup(self._process.stdout.fileno()), writable=False)
        self._process.stdin.close()
        self._process.stdout.close()
        return self

    def __exit__(self, *error: object) -> None:
        self._orders.close()
        self._answers.close()
        if error[0] is not None:
            self._process.kill()
        self._process.wait()

    def begun(self, refunded: Set[str]) -> "ProcessFolder":
        """The same, once it knows of which debits something comes back."""
        self._tell(refunded)
        return self

    def take(self, block: bytes) -> None:
        self._tell(block)

    def mark(self, mark: Mark) -> None:
        self._tell(mark)

    def finish(self) -> Folded:
        self._tell(None)
        try:
            folded = self._answers.recv()
        except (OSError, EOFError) as error:
            raise self._lost() from error
        assert isinstance(folded, Folded)
        return folded

    def _tell(self, order: object) -> None:
        try:
            self._orders.send(order)
        except OSError as error:  # as a broken pipe it would be taken for a reader of ours who has gone
            raise self._lost() from error

    def _lost(self) -> FoldingEnded:
        return FoldingEnded(f"a process that folds has ended: {self._process.wait()}")


def fold_orders(orders: Connection, answers: Connection) -> None:
    """What such a process does: fold the blocks it is sent, until it is told that there are no more."""
    folder = LocalFolder(orders.recv())
    while (order := orders.recv()) is not None:
        if isinstance(order, bytes):
            folder.take(order)
        else:
            folder.mark(order)
    answers.send(folder.finish())
