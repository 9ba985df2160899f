"""The fold: the log's lines, line by line, from empty, each held to every law.

An ordinary debit - one draw from the lot that pays first, while nothing is due - is looked at as a whole: either it is
all that it should be, or it goes the careful way of everything else, which names what is wrong with it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Set
from typing import NamedTuple, TypeAlias

from ledger.domain.audit import definitions, grants, movements
from ledger.domain.audit.books import AuditedLot, AuditedPool, Debit, Draw, Stream
from ledger.domain.audit.findings import Findings
from ledger.domain.audit.lines import AS_A_WHOLE, DOCUMENT_ALONE, Line, PoolText, unescaped
from ledger.domain.events import (
    EVENT_TYPES,
    GRANT_CHANGES,
    MOVEMENTS,
    RULE_EVENTS,
    AllocationRuleDefined,
    AutoRechargeDefined,
    Debited,
    Event,
    ExecutionCreditDefined,
    Granted,
    GrantScheduleDefined,
    LedgerEvent,
    Refunded,
)
from ledger.domain.lots import LawBroken
from ledger.domain.refusals import Refusal

ReadEvent: TypeAlias = Callable[[Line], LedgerEvent]
"""Reads a line as the event that it is, validated; raises ValueError or LawBroken."""
UNREADABLE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, LawBroken, Refusal)
TOPICS: dict[str, type[Event]] = {event_type.TOPIC: event_type for event_type in EVENT_TYPES}
LEAN = {event_type.TOPIC: event_type for event_type in MOVEMENTS if event_type is not Granted}
OF_A_LOT = {event_type.TOPIC for event_type in MOVEMENTS | GRANT_CHANGES}
STREAMS: dict[str, set[str]] = {
    Granted.TOPIC: {event_type.TOPIC for event_type in MOVEMENTS | GRANT_CHANGES} - {Granted.TOPIC},
    ExecutionCreditDefined.TOPIC: {event_type.TOPIC for event_type in MOVEMENTS | {ExecutionCreditDefined}},
    GrantScheduleDefined.TOPIC: {GrantScheduleDefined.TOPIC},
    AutoRechargeDefined.TOPIC: {AutoRechargeDefined.TOPIC},
    AllocationRuleDefined.TOPIC: {event_type.TOPIC for event_type in RULE_EVENTS - {AllocationRuleDefined}},
}
"""What a stream may begin with, and what may follow in it."""


class Sums(NamedTuple):
    """What was granted, debited, ... of one kind and currency, and what is left; Credits."""

    granted: int = 0
    debited: int = 0
    refunded: int = 0
    voided: int = 0
    expired: int = 0
    balance: int = 0

    def plus(self, other: "Sums") -> "Sums":
        return Sums(*map(sum, zip(self, other, strict=True)))


class Totals(NamedTuple):
    """What the lines so far come to."""

    lots: int
    pools: int
    sums: dict[tuple[str, str], Sums]
    """By kind and currency."""

    def plus(self, other: "Totals") -> "Totals":
        sums = dict(self.sums)
        for key, more in other.sums.items():
            sums[key] = sums[key].plus(more) if key in sums else more
        return Totals(self.lots + other.lots, self.pools + other.pools, sums)


class Fold:
    """The books of some pools after the lines so far. Lines of one holder must all come to one fold, in order."""

    def __init__(self, read_event: ReadEvent, refunded: Set[str]) -> None:
        """`refunded`: the debits of which something comes back sooner or later; no others are remembered."""
        self.read_event = read_event
        self.refunded = refunded
        self.findings = Findings()
        self.streams: dict[str, Stream] = {}
        self.lots: dict[str, AuditedLot] = {}
        self.pools: dict[PoolText, AuditedPool] = {}
        self.debits: dict[str, Debit] = {}
        self.passed_over: set[str] = set()
        """Lots of which not all is known, because something of theirs could not be read; told once."""
        self._ordinary = 0
        self._counts: defaultdict[str, int] = defaultdict(int)

    def take(self, lines: Iterable[str]) -> None:
        """Fold some lines."""
        lots, refunded = self.lots, self.refunded
        for text in lines:
            (
                position, transaction_id, recorded_at, version, effective_at, use_at, lot_id, amount, debit_id, groups,
                said_used, said_balance, said_pool_balance, others,
            ) = text.split("\t", AS_A_WHOLE)  # fmt: skip
            lot = lots.get(lot_id)
            if lot is not None and (pool := lot.books).front is lot and recorded_at < pool.front_until:
                stream = lot.stream
                try:
                    part = -int(amount.replace(".", ""))
                    used, balance, pool_balance = lot.used + part, lot.balance - part, pool.balance - part
                    if (
                        (others.startswith(lot.of_plain_debits) or _has_document(others, lot.of_debits))
                        and balance > 0 < part
                        and int(said_balance.replace(".", "")) == balance
                        and int(said_used.replace(".", "")) == used
                        and (
                            int(said_pool_balance.replace(".", "")) == pool_balance
                            if said_pool_balance != said_balance else pool_balance == balance
                        )
                        and int(version) == stream.version + 1
                        and (effective_at == use_at >= lot.begins or effective_at == lot.begins > use_at)
                        and use_at <= recorded_at and use_at[4] == "-" and use_at[-3:] == "+00"
                        and debit_id == transaction_id != pool.last_debit
                    ):  # fmt: skip
                        stream.version += 1
                        lot.used, lot.balance, lot.last_position = used, balance, position
                        pool.balance, pool.position = pool_balance, position
                        pool.debited += part
                        pool.last_debit = debit_id
                        if debit_id in refunded:
                            self.debits[debit_id] = Debit(pool, use_at, groups, [Draw(lot, part)])
                        self._ordinary += 1
                        continue
                except (ValueError, IndexError):  # a number that is none, say: the careful way tells which
                    pass
            self._take(Line._make(text.split("\t")))

    def finish(self) -> Findings:
        """After the last line: what is still owed, and how much was looked at."""
        for pool in self.pools.values():
            movements.check_nothing_owed(self, pool)
        self._counts[Debited.TOPIC] += self._ordinary
        self._ordinary = 0
        lines = sum(self._counts.values())
        of_lots = sum(self._counts[topic] for topic in OF_A_LOT)
        moving = sum(self._counts[event_type.TOPIC] for event_type in MOVEMENTS)
        for name, count in {
            **dict.fromkeys(("topics", "streams"), lines),
            **dict.fromkeys(("lot-law", "pool-law", "terms"), of_lots),
            **dict.fromkeys(("signs", "dates"), moving),
            **dict.fromkeys(("burn-down", "usable"), self._counts[Debited.TOPIC]),
            "due-first": lines - sum(self._counts[event_type.TOPIC] for event_type in RULE_EVENTS),
            "refunds": self._counts[Refunded.TOPIC],
            "definitions": lines - of_lots,
        }.items():
            self.findings.look(name, count)
        return self.findings

    def totals(self) -> Totals:
        """What the lines so far come to."""
        sums: defaultdict[tuple[str, str], Sums] = defaultdict(Sums)
        for pool in self.pools.values():
            kind, _, currency, _ = pool.key
            moved = (pool.granted, pool.debited, pool.refunded, pool.voided, pool.expired, pool.balance)
            key = kind, unescaped(currency)
            sums[key] = sums[key].plus(Sums(*moved))
        return Totals(len(self.lots), len(self.pools), dict(sums))

    def pool_of(self, line: Line) -> AuditedPool:
        """The pool that a line tells of."""
        key = line.pool
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = AuditedPool(key)
        return pool

    def _take(self, line: Line) -> None:
        """One line, carefully. What cannot be read is told, and passed over as far as that goes."""
        self._counts[line.type] += 1
        try:
            stream = self._stream(line)
            if self._is_known(line):
                self._follow(line, stream)
            else:
                movements.adopt(self, line)
        except UNREADABLE as error:
            reason = str(error).partition("\n")[0]
            self.findings.fault("topics", line, f"{line.type} that cannot be read: {reason}", "an event of a ledger")
            movements.adopt(self, line)

    def _stream(self, line: Line) -> Stream:
        """The line's stream, one version further. Streams: gapless, and begun as they may be."""
        stream = self.streams.get(line.stream_id)
        if stream is None:
            stream = self.streams[line.stream_id] = Stream(line.stream_id, line.type)
            is_grant = line.kind == "CREDIT_GRANT"
            if line.type not in STREAMS or (line.type == Granted.TOPIC and not is_grant):
                self.findings.fault("streams", line, f"begins with {line.type}", "a beginning of a stream")
        elif line.type not in STREAMS.get(stream.first, TOPICS):
            self.findings.fault("streams", line, line.type, f"what follows in a stream that began with {stream.first}")
        version = int(line.version)
        if version != stream.version + 1:
            self.findings.fault("streams", line, f"version {version}", f"version {stream.version + 1}")
        stream.version = version
        return stream

    def _is_known(self, line: Line) -> bool:
        event_type = TOPICS.get(line.type)
        if event_type is None:
            self.findings.fault("topics", line, f"type {line.type}", "a type of this ledger")
        elif not 1 <= int(line.schema_version) <= event_type.SCHEMA_VERSION:
            self.findings.fault(
                "topics", line, f"schema version {line.schema_version}", f"1 to {event_type.SCHEMA_VERSION}"
            )
        else:
            return True
        return False

    def _follow(self, line: Line, stream: Stream) -> None:
        event_type = LEAN.get(line.type)
        if event_type is not None:
            movements.follow(self, line, stream, event_type)
        elif line.type in OF_A_LOT:
            grants.follow(self, line, stream)
        else:
            definitions.follow(self, line, stream)


def _has_document(others: str, of_debits: str) -> bool:
    return others.startswith(of_debits) and DOCUMENT_ALONE(others, len(of_debits)) is not None
