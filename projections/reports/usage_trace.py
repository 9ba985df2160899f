"""The trace of a usage: from what was used in a window, over pools and debits, down to draws and refunds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import DictRow

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant
from ledger.domain.values import Kind, PoolKey, TransactionId
from projections.reading import Reader
from projections.reports.as_of import report_sql
from projections.reports.balances import in_order
from projections.reports.figures import Scope, Told, pages
from projections.reports.leaves import Found, batches, describe, leaves_of
from projections.reports.trace import Asked
from projections.reports.tree import Branch, More
from projections.reports.usage import recorded_before


class Uses(NamedTuple):
    """Which uses: of a scope, in [start, end), of a resource, under any of some account groups; None: all."""

    scope: Scope
    start: Instant | None
    end: Instant | None
    resource: str | None = None
    groups: Sequence[str] | None = None

    def values(self) -> dict[str, Any]:
        groups = None if self.groups is None else list(self.groups)
        return {"use_start": self.start, "use_end": self.end, "of_resource": self.resource, "groups": groups}


@dataclass(slots=True)
class Used:
    """What was used of a pool, net, by so many events, and its first debits with the instants of their use."""

    amount: Credits = 0
    events: int = 0
    first: int = 0
    last: int = 0
    debits: dict[TransactionId, Instant] = field(default_factory=dict)

    def take(self, row: DictRow) -> None:
        self.first = self.first or row["first"]
        self.last = row["last"]
        self.amount += row["used"]
        self.events += row["number"]


def trace_usage(reader: Reader, uses: Uses, asked: Asked, root: Branch, told: Told) -> Branch:
    """Grow below what was used, net, what it is made of: by currency, by pool, by debit; a refund is below its debit.

    Refuses: PositionNotReached (of one holder), DoesNotAddUp.
    """
    by_currency: defaultdict[str, dict[PoolKey, Used]] = defaultdict(dict)
    used = _fold(reader, uses, asked, told)
    for pool in sorted(used, key=in_order):
        by_currency[pool.currency][pool] = used[pool]
    shown = {currency: dict(list(pools.items())[: asked.parts_max]) for currency, pools in by_currency.items()}
    of_debits = _of_debits(reader, shown.values(), asked)
    root.branches = [
        Branch(
            "currency",
            sum(used.amount for used in by_currency[currency].values()),
            {"currency": currency},
            [_of_pool(pool, used, of_debits) for pool, used in shown[currency].items()],
            more=_rest(list(by_currency[currency].values())[asked.parts_max :]),
        )
        for currency in sorted(by_currency)
    ]
    root.add_up()
    describe(reader, root)
    return root


def _fold(reader: Reader, uses: Uses, asked: Asked, told: Told) -> dict[PoolKey, Used]:
    """What was used of each pool, with as many of its first debits as are told."""
    found: defaultdict[PoolKey, Used] = defaultdict(Used)
    as_of = asked.as_of
    for connection, moved, page in pages(
        reader, uses.scope, as_of.position, recorded_before(reader, uses.start, as_of)
    ):
        picked = sql.SQL(report_sql("uses")).format(moved=moved)
        values = page | uses.values() | {"effective_at": as_of.effective_at, "leaves": asked.parts_max}
        for row in connection.execute(sql.SQL(report_sql("uses_by_pool")).format(uses=picked), values):
            found[_pool(row)].take(row)
        for row in connection.execute(sql.SQL(report_sql("first_debits")).format(uses=picked), values):
            debits = found[_pool(row)].debits
            if len(debits) < asked.parts_max:
                debits.setdefault(row["debit_id"], row["use_at"])
        told(page["until"], as_of.position)
    return found


def _of_debits(reader: Reader, shown: Iterable[Mapping[PoolKey, Used]], asked: Asked) -> dict[TransactionId, Branch]:
    """A branch for each debit that is told."""
    debits = {debit: at for pools in shown for used in pools.values() for debit, at in used.debits.items()}
    branches: dict[TransactionId, Branch] = {}
    as_of = asked.as_of
    for some in batches(debits):
        values = {"debits": list(some), "until": as_of.position, "effective_at": as_of.effective_at}
        with reader.connection() as connection:
            found = leaves_of(connection, sql.SQL(report_sql("of_debits")), values, asked.parts_max)
        for debit in some:
            branch = branches[debit] = Branch("debit", 0, {"transaction": debit, "use_at": debits[debit]})
            found.get(debit, Found()).put(branch, +1)
            branch.amount = branch.sum
    return branches


def _of_pool(pool: PoolKey, used: Used, of_debits: Mapping[TransactionId, Branch]) -> Branch:
    debits = [of_debits[debit] for debit in used.debits]
    branch = Branch("pool", used.amount, pool._asdict(), debits)
    told = sum(len(debit.leaves) + (debit.more.number if debit.more else 0) for debit in debits)
    if used.events > told:
        branch.more = More("events", used.events - told, used.amount - branch.sum, used.first, used.last)
    return branch


def _rest(pools: Sequence[Used]) -> More | None:
    if not pools:
        return None
    first, last = min(used.first for used in pools), max(used.last for used in pools)
    return More("pools", len(pools), sum(used.amount for used in pools), first, last)


def _pool(row: DictRow) -> PoolKey:
    return PoolKey(Kind(row["kind"]), row["holder"], row["currency"], row["resource"])
