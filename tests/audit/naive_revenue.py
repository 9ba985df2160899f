"""Deferred revenue told a second time: event by event, with fractions, each grant looked at anew at each cut."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

TICK = timedelta(microseconds=1)
UNIT = 10**9
OUT = ("ledger.expired", "ledger.voided")
CHANGES = ("ledger.granted", "ledger.grant-updated", "ledger.grant-payment-recorded")


class Told(NamedTuple):
    """What the costs of a grant have come to by an instant; billionths."""

    cost: int = 0
    carried_in: int = 0
    recognised: int = 0
    refunds: int = 0
    breakage: int = 0
    voided: int = 0
    carried_out: int = 0
    deferred: int = 0


class NaiveGrant:
    """One grant by its rows of the log, in their order; `carriers` are the first rows of all that carry on another."""

    def __init__(self, rows: Sequence[Any], carriers: dict[str, Any]) -> None:
        self.rows = rows
        self.carriers = carriers
        self.first = rows[0]
        assert self.first["type"] == "ledger.granted"
        self.cost = _units(self.first)
        self.begins_at: datetime = [row for row in rows if row["type"] in CHANGES][-1]["lot_effective_at"]

    @property
    def name(self) -> str:
        return str(self.first["readable_id"])

    def share(self, used: int) -> int:
        return round(Fraction(self.cost * used, self.first["amount"]))

    def counts(self, instant: datetime) -> bool:
        if _payment(self.first).get("method", "NONE") == "NONE":
            return self.begins_at <= instant
        return any(
            row["type"] == "ledger.grant-payment-recorded"
            and row["recorded_at"] <= instant
            and _payment(row).get("collection", "NOT_REQUIRED") == "NOT_REQUIRED"
            for row in self.rows
        )

    def at(self, instant: datetime) -> Told:
        if not self.counts(instant):
            return Told()
        used = used_in_log = refunds = carried_out = 0
        ended_as = None
        for row in self.rows:
            counts = row["effective_at"] <= instant
            if row["debit_id"] is not None:
                if row["amount"] > 0 and counts:
                    refunds += self.share(used_in_log) - self.share(used_in_log - row["amount"])
                used_in_log -= row["amount"]
                used -= row["amount"] if counts else 0
            elif row["type"] in OUT and counts:
                ended_as = row["type"]
                if row["rolled_over_to"] is not None:
                    carried_out += _units(self.carriers[str(row["rolled_over_to"])])
        rest = self.cost - self.share(used) - carried_out
        carries_on = self.first["stream_id"] in self.carriers
        return Told(
            cost=0 if carries_on else self.cost,
            carried_in=self.cost if carries_on else 0,
            recognised=self.share(used),
            refunds=refunds,
            breakage=rest if ended_as == "ledger.expired" else 0,
            voided=rest if ended_as == "ledger.voided" else 0,
            carried_out=carried_out,
            deferred=rest if ended_as is None else 0,
        )


def naive_rows(log: Sequence[Any], start: datetime | None, end: datetime) -> dict[str, tuple[int, ...]]:
    """Opening, what came in [start, end] and closing, by readable id, without what is zero."""
    told = {}
    for grant in naive_grants(log):
        before = Told() if start is None else grant.at(start - TICK)
        after = grant.at(end)
        came = [now - then for now, then in zip(after[:-1], before[:-1], strict=True)]
        told[grant.name] = (before.deferred, *came, after.deferred)
    return {name: row for name, row in told.items() if any(row)}


def naive_grants(log: Sequence[Any]) -> list[NaiveGrant]:
    """Those that cost something."""
    of_grants: dict[str, list[Any]] = {}
    for row in log:
        if row["kind"] == "CREDIT_GRANT" and row["lot"] is not None:
            of_grants.setdefault(row["stream_id"], []).append(row)
    targets = {str(row["rolled_over_to"]) for row in log if row["rolled_over_to"] is not None}
    carriers = {stream: rows[0] for stream, rows in of_grants.items() if stream in targets}
    return [NaiveGrant(rows, carriers) for rows in of_grants.values() if _units(rows[0]) > 0]


def _payment(row: Any) -> dict[str, Any]:
    """What the log leaves out is NONE, and NOT_REQUIRED."""
    payment: dict[str, Any] = row["grant_details"].get("payment", {})
    return payment


def _units(first: Any) -> int:
    """What a grant costs."""
    units = Fraction(first["grant_details"]["cost"]["amount"]) * UNIT
    assert units.denominator == 1
    return int(units)
