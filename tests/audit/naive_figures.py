"""The figures as of two clocks, written a second time: each sum anew from all events that a log had."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import DictRow

from ledger.domain.credits import credits_text
from ledger.domain.instants import add_months, instant_text
from ledger.domain.values import Kind
from tests.audit.asking import Rows

TERMS = {"ledger.granted", "ledger.grant-updated", "ledger.grant-payment-recorded"}
OUT = {"ledger.debited": "debited", "ledger.voided": "voided", "ledger.expired": "expired"}
IN = {"ledger.granted": "granted", "ledger.refunded": "refunded"}
FLOWS = ("granted", "refunded", "rolledOverIn", "debited", "voided", "expired", "rolledOverOut")
UNITS = {"HOUR": "%Y-%m-%dT%H:00:00.000Z", "DAY": "%Y-%m-%dT00:00:00.000Z", "MONTH": "%Y-%m-01T00:00:00.000Z"}


class NaiveLot:
    """The events of a lot, as of an instant."""

    def __init__(self, events: Sequence[DictRow], instant: datetime) -> None:
        self.first = events[0]
        self.instant = instant
        self.told = [event for event in events if event["type"] in TERMS]
        self.events = events
        self.begins: datetime = self.told[-1]["lot_effective_at"]
        self.counted = [event for event in events if event["amount"] and self.counts_at(event) <= instant]
        self.booked = sum(event["amount"] for event in self.counted)

    def counts_at(self, event: DictRow) -> datetime:
        opens = event["type"] == "ledger.granted" and event["kind"] == Kind.CREDIT_GRANT
        at: datetime = self.begins if opens else event["effective_at"]
        return at

    @property
    def terms(self) -> DictRow:
        """Those that had been said by the instant; a grant that was dated back had its own from its beginning on."""
        said = [event for event in self.told if min(event["effective_at"], event["recorded_at"]) <= self.instant]
        return (said or self.told[:1])[-1]

    @property
    def ended(self) -> bool:
        end = self.terms["lot_expires_at"]
        return end is not None and end <= self.instant

    @property
    def waits(self) -> bool:
        waits: bool = self.terms["lot_awaiting_payment"]
        return waits

    @property
    def shown(self) -> bool:
        return self.begins <= self.instant or self.first["recorded_at"] <= self.instant

    @property
    def status(self) -> str:
        begun = self.begins <= self.instant
        void = [event for event in self.events if event["cause"] in ("VOIDED", "DELETED")]
        if any(event["recorded_at"] <= self.instant for event in void):
            return "VOIDED"
        used = -sum(event["amount"] for event in self.counted if event["debit_id"] is not None)
        if begun and used >= sum(event["amount"] for event in self.counted if event["type"] == "ledger.granted"):
            return "CONSUMED"
        if self.ended:
            return "EXPIRED"
        return "PENDING" if self.waits or not begun else "ACTIVE"

    @property
    def parts(self) -> tuple[int, int, int]:
        """Awaiting payment, ended, available."""
        if self.ended:
            return 0, self.booked, 0
        return (self.booked, 0, 0) if self.waits else (0, 0, self.booked)


class NaiveFigures:
    """What was to be told of these events, all that a log had, as of an instant."""

    def __init__(self, events: Iterable[DictRow], instant: datetime) -> None:
        by_lot: dict[str, list[DictRow]] = defaultdict(list)
        self.instant = instant
        self.log = list(events)
        for event in self.log:
            if event["lot"] is not None:
                by_lot[event["lot"]].append(event)
        self.lots = {lot: NaiveLot(events, instant) for lot, events in by_lot.items()}

    def of(self, wanted: Mapping[str, Any]) -> list[NaiveLot]:
        """The lots of the holder that is asked for, by pool; without one all of them."""
        found = [lot for lot in self.lots.values() if _wanted(lot.first, wanted)]
        return sorted(found, key=lambda lot: (_pool(lot.first), lot.first["position"]))

    def balances(self, wanted: Mapping[str, Any]) -> Rows:
        pools: dict[Any, list[NaiveLot]] = defaultdict(list)
        for lot in self.of(wanted):
            pools[_pool(lot.first)].append(lot)
        rows = []
        for lots in pools.values():
            flows = _flows(event for lot in lots for event in lot.counted)
            parts = [sum(part) for part in zip(*(lot.parts for lot in lots), strict=True)]
            figures = flows | {"booked": sum(lot.booked for lot in lots)}
            figures |= dict(zip(("awaitingPayment", "ended", "available"), parts, strict=True))
            if any(figures.values()):
                rows.append(_pool_cells(lots[0].first) | _texts(figures))
        return rows

    def lots_told(self, wanted: Mapping[str, Any]) -> Rows:
        return [self._lot(lot) for lot in self.of(wanted) if lot.shown]

    def _lot(self, lot: NaiveLot) -> dict[str, Any]:
        flows, last = _flows(lot.counted), lot.told[-1]
        grant = lot.first["kind"] == Kind.CREDIT_GRANT
        coming = lot.begins > self.instant and lot.status != "VOIDED"
        figures = {name: flows[name] for name in ("granted", "rolledOverIn", "voided", "expired", "rolledOverOut")}
        figures |= {"used": flows["debited"] - flows["refunded"], "balance": lot.booked, "available": lot.parts[2]}
        figures |= {"toCome": lot.first["amount"] if coming else 0, "priority": lot.terms["lot_priority"]}
        return _pool_cells(lot.first) | _texts(figures) | {
            "lot": lot.first["lot"], "grant": lot.first["readable_id"], "grantType": lot.first["grant_type"],
            "status": lot.status, "beginsAt": instant_text(lot.begins), "awaitingPayment": lot.waits,
            "expiresAt": lot.terms["lot_expires_at"] and instant_text(lot.terms["lot_expires_at"]),
            "cost": credits_text(last["cost_amount"]) if grant else None, "costCurrency": last["cost_currency"],
            "createdAt": instant_text(lot.first["lot_created_at"]), "firstPosition": lot.first["position"],
        }  # fmt: skip

    def dated(self, wanted: Mapping[str, Any]) -> list[tuple[datetime, DictRow]]:
        """The events of the lots that are asked for, with when they count, by position."""
        found = [(lot.counts_at(event), event) for lot in self.of(wanted) for event in lot.events]
        start = wanted.get("from") or datetime.min.replace(tzinfo=self.instant.tzinfo)
        return sorted(
            ((at, event) for at, event in found if start <= at <= self.instant), key=lambda each: each[1]["position"]
        )

    def ledger(self, wanted: Mapping[str, Any]) -> Rows:
        found = [each for each in self.dated(wanted) if each[1]["position"] < wanted.get("before", 10**9)]
        return [
            self._event(at, event) | _pool_cells(event) | {
                "useAt": event["use_at"] and instant_text(event["use_at"]),
                "lotBalance": credits_text(event["lot_balance"]), "poolBalance": credits_text(event["pool_balance"]),
            }
            for at, event in found[::-1][: wanted.get("limit")]
        ]  # fmt: skip

    def statement(self, wanted: Mapping[str, Any]) -> Rows:
        start = wanted.get("from")
        rows: Rows = []
        pools = {_pool(lot.first): lot.first for lot in self.of(wanted)}
        for pool, first in pools.items():
            lots = [lot for lot in self.of(wanted) if _pool(lot.first) == pool]
            counted = [(lot.counts_at(event), event["amount"]) for lot in lots for event in lot.counted]
            moved = [each for each in self.dated(wanted) if _pool(each[1]) == pool]
            balance = sum(amount for at, amount in counted if start and at < start)
            closing = sum(lot.booked for lot in lots)
            if not (balance or closing or moved):
                continue
            empty: dict[str, Any] = dict.fromkeys(self._event(self.instant, first))
            for line, at, amount in (("opening", start, balance), ("closing", self.instant, closing)):
                edge = {"line": line, "countsAt": at and instant_text(at), "balance": credits_text(amount)}
                rows.append(_pool_cells(first) | empty | edge)
            last = rows.pop()
            for at, event in sorted(moved, key=lambda each: (each[0], each[1]["position"])):
                balance += event["amount"] or 0
                cells = {"line": "movement", "balance": credits_text(balance)}
                rows.append(_pool_cells(first) | self._event(at, event) | cells)
            rows.append(last)
        return rows

    def _event(self, at: datetime, event: DictRow) -> dict[str, Any]:
        """What is told of an event besides its texts."""
        return {
            "position": event["position"], "recordedAt": instant_text(event["recorded_at"]),
            "countsAt": instant_text(at), "event": event["type"], "cause": event["cause"],
            "amount": credits_text(event["amount"] or 0), "lot": event["lot"],
            "grant": self.lots[event["lot"]].first["readable_id"],
            "actor": f"{event['actor_kind']}:{event['actor_key']}", "transaction": event["transaction_id"],
        }  # fmt: skip

    def usage(self, wanted: Mapping[str, Any]) -> Rows:
        used: dict[Any, int] = defaultdict(int)
        cells: dict[Any, dict[str, Any]] = {}
        for event in self.uses(wanted):
            if _wanted(event, wanted):
                point = event["use_at"].strftime(UNITS[wanted["size"]]) if "size" in wanted else None
                used[_pool(event), point] -= event["amount"]
                cells[_pool(event), point] = _pool_cells(event) | {"pointAt": point}
        return [cells[key] | {"used": credits_text(used[key])} for key in sorted(used)]

    def used_of(self, groups: Iterable[str], currency: str | None, wanted: Mapping[str, Any]) -> int:
        """Of an allocation rule."""
        used = 0
        for event in self.uses(wanted):
            if set(event["account_groups"] or ()) & set(groups) and currency in (None, event["currency"]):
                used -= event["amount"]
        return used

    def uses(self, wanted: Mapping[str, Any]) -> Iterable[DictRow]:
        for event in self.log:
            if event["debit_id"] is not None and event["effective_at"] <= self.instant:
                late = "to" in wanted and event["use_at"] >= wanted["to"]
                if not late and ("from" not in wanted or event["use_at"] >= wanted["from"]):
                    yield event

    def expiring(self, wanted: Mapping[str, Any]) -> Rows:
        groups: dict[str, Callable[[DictRow], dict[str, Any]]] = {
            "customer": lambda of: {name: of[name] for name in ("kind", "holder", "currency")},
            "currency": lambda of: {name: of[name] for name in ("kind", "currency")},
            "grant-type": lambda of: {"kind": of["kind"], "currency": of["currency"], "grantType": of["grant_type"]},
        }
        rows: dict[Any, Any] = {}
        for lot in self.of(wanted):
            if lot.ended or not lot.booked:
                continue
            cells = groups[wanted.get("by", "customer")](lot.first)
            key = tuple(value or "" for value in cells.values())
            _, figures = rows.setdefault(key, (cells, dict.fromkeys(BUCKETS, 0)))
            figures[_bucket(lot.terms["lot_expires_at"], self.instant)] += lot.booked
            figures["total"] += lot.booked
            figures["ofItAwaitingPayment"] += lot.parts[0]
        return [cells | _texts(figures) for _, (cells, figures) in sorted(rows.items(), key=lambda each: each[0])]


BUCKETS = ("within3Months", "within12Months", "later", "never", "total", "ofItAwaitingPayment")


def _bucket(end: datetime | None, instant: datetime) -> str:
    if end is None:
        return "never"
    if end < add_months(instant, 3):
        return "within3Months"
    return "within12Months" if end < add_months(instant, 12) else "later"


def _wanted(event: DictRow, wanted: Mapping[str, Any]) -> bool:
    holder = wanted.get("customer", wanted.get("company"))
    kind = Kind.EXECUTION_CREDIT if "company" in wanted else Kind.CREDIT_GRANT
    return (holder is None or (event["kind"], event["holder"]) == (kind, holder)) and all(
        event[name] == wanted.get(name, event[name]) for name in ("currency", "resource")
    )


def _pool(event: DictRow) -> tuple[str, ...]:
    return event["kind"], event["holder"], event["currency"], event["resource"] or ""


def _pool_cells(event: DictRow) -> dict[str, Any]:
    return {name: event[name] for name in ("kind", "holder", "currency", "resource")}


def _flows(events: Iterable[DictRow]) -> dict[str, int]:
    flows = dict.fromkeys(FLOWS, 0)
    for event in events:
        rolled, amount = event["cause"] == "ROLLED_OVER", event["amount"]
        if event["type"] in IN:
            flows["rolledOverIn" if rolled else IN[event["type"]]] += amount
        else:
            flows["rolledOverOut" if rolled else OUT[event["type"]]] -= amount
    return flows


def _texts(figures: Mapping[str, int]) -> dict[str, str]:
    return {name: credits_text(amount) for name, amount in figures.items()}
