"""Execution credits written a second time, from the contract alone: whole numbers, and the calendar counted by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

ADDON = "ADDON"
MONTHS = {"MONTHLY": 1, "QUARTERLY": 3, "SEMIANNUAL": 6, "YEARLY": 12}
DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Create(NamedTuple):
    credit_type: str
    credits: int
    rollup_type: str
    anchor: datetime | None = None


class Update(NamedTuple):
    credit: str
    credits: int | None = None
    rollup_type: str | None = None


class Delete(NamedTuple):
    credit: str


class Debit(NamedTuple):
    credit_type: str
    credits: int
    project: str | None = None


class Refund(NamedTuple):
    debit: str
    credits: int | None = None


Step = Create | Update | Delete | Debit | Refund


class Refused(Exception):
    """A rule is in the way; nothing has changed."""


class Period(NamedTuple):
    begins_at: datetime
    ends_at: datetime | None
    credits: int


@dataclass
class Transaction:
    transaction_id: str
    credit: "NaiveCredit"
    type: str
    credits: int
    project: str | None
    at: datetime
    id: str = ""
    """As the service names it."""


@dataclass
class Draw:
    """What a debit took from one period of one credit."""

    credit: "NaiveCredit"
    period: int
    left: int
    """What was not refunded yet."""


@dataclass
class NaiveCredit:
    id: str
    company: str
    credit_type: str
    credits: int
    rollup_type: str
    next_rollup_type: str
    anchor: datetime
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None = None
    used: int = 0
    months: int = 0
    """From the anchor to the end of the present period."""
    periods: list[Period] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    """Newest first."""

    @property
    def ends_at(self) -> datetime | None:
        return self.periods[-1].ends_at

    @property
    def available(self) -> int:
        return self.credits - self.used

    def begin(self, begins_at: datetime) -> None:
        """A period begins; it ends at the next step of its cycle from the anchor."""
        self.rollup_type, self.used, self.updated_at = self.next_rollup_type, 0, begins_at
        if self.rollup_type == ADDON:
            self.periods.append(Period(begins_at, None, self.credits))
            return
        while stepped(self.anchor, self.months) <= begins_at:
            self.months += MONTHS[self.rollup_type]
        self.periods.append(Period(begins_at, stepped(self.anchor, self.months), self.credits))

    def renew(self, now: datetime) -> int:
        """Begin every period that has come; returns how many."""
        before = len(self.periods)
        while self.deleted_at is None and self.ends_at is not None and self.ends_at <= now:
            self.begin(self.ends_at)
        return len(self.periods) - before


class NaiveExecutionCredits:
    """The credits of one company. A step comes with the id by which the service knows what it made."""

    def __init__(self, company: str, now: datetime) -> None:
        self.company = company
        self.now = now
        self.credits: dict[str, NaiveCredit] = {}
        self.debits: dict[str, list[Draw]] = {}
        self.projects: dict[str, str | None] = {}

    def move(self, now: datetime) -> bool:
        """Returns whether a period has ended."""
        self.now = now
        return sum(credit.renew(now) for credit in self.credits.values()) > 0

    def listed(self, credit_type: str | None = None, rollup_type: str | None = None) -> list[NaiveCredit]:
        """Those that are not deleted, in the order of a list."""
        live = [credit for credit in self.credits.values() if credit.deleted_at is None]
        wanted = [
            credit
            for credit in live
            if credit_type in (None, credit.credit_type) and rollup_type in (None, credit.rollup_type)
        ]
        return sorted(wanted, key=lambda credit: (credit.created_at, credit.id))

    def pool(self, credit_type: str) -> list[NaiveCredit]:
        """Renewing credit before ADDON."""
        return sorted(self.listed(credit_type), key=lambda credit: credit.rollup_type == ADDON)

    def available(self, credit_type: str) -> int:
        return sum(credit.available for credit in self.pool(credit_type))

    def take(self, step: Step, id: str) -> list[Transaction]:
        """Carry out a step; returns the transactions of a debit or refund. Raises Refused."""
        match step:
            case Create():
                self.create(step, id)
            case Update():
                self.update(step)
            case Delete(credit):
                live = self.live(credit)
                live.updated_at = live.deleted_at = self.now
            case Debit():
                return list(self.debit(step, id))
            case Refund():
                return list(self.refund(step, id))
        return []

    def create(self, step: Create, id: str) -> None:
        if step.credits <= 0:
            raise Refused("credits must be above zero")
        if step.anchor is not None and step.anchor > self.now:
            raise Refused("periodAnchor must not be in the future")
        if any((credit.rollup_type == ADDON) == (step.rollup_type == ADDON) for credit in self.pool(step.credit_type)):
            sort = "ADDON" if step.rollup_type == ADDON else "renewing credit"
            raise Refused(f"company {self.company} already has a live {sort} for {step.credit_type}")
        cycle = (step.rollup_type, step.rollup_type, step.anchor or self.now)
        self.credits[id] = NaiveCredit(id, self.company, step.credit_type, step.credits, *cycle, self.now, self.now)
        self.credits[id].begin(self.now)

    def update(self, step: Update) -> None:
        credit = self.live(step.credit)
        if step.rollup_type is not None and (ADDON in (step.rollup_type, credit.rollup_type)):
            raise Refused(f"rollupType cannot be changed from {credit.rollup_type} to {step.rollup_type}")
        if step.credits is not None and step.credits < credit.used:
            raise Refused(f"credits cannot be lowered to {step.credits}: {credit.used} are used")
        credit.credits = credit.credits if step.credits is None else step.credits
        credit.next_rollup_type = step.rollup_type or credit.next_rollup_type
        credit.updated_at = self.now

    def debit(self, step: Debit, id: str) -> Iterator[Transaction]:
        pool, available = self.pool(step.credit_type), self.available(step.credit_type)
        if step.credits > available:
            if available == 0 and all(credit.rollup_type != ADDON for credit in pool):
                lacking = "no available recurrent balance and no ADDON pool found"
            else:
                lacking = f"{step.credits} requested, {available} available"
            raise Refused(f"Insufficient credits: {lacking} for {step.credit_type}")
        self.debits[id], self.projects[id] = [], step.project
        wanted = step.credits
        for credit in pool:
            if part := min(wanted, credit.available):
                wanted -= part
                credit.used += part
                self.debits[id].append(Draw(credit, len(credit.periods), part))
                yield self.transaction(credit, id, "DEBIT", part, step.project)

    def refund(self, step: Refund, id: str) -> Iterator[Transaction]:
        if step.debit not in self.debits:
            raise Refused(f"no debit {step.debit}")
        left = sum(draw.left for draw in self.debits[step.debit])
        wanted = left if step.credits is None else step.credits
        if wanted == 0:
            raise Refused("nothing is left to refund")
        if wanted > left:
            raise Refused(f"{wanted} credit{'' if wanted == 1 else 's'} to refund, {left} left to refund")
        for draw in reversed(self.debits[step.debit]):
            if part := min(wanted, draw.left):
                wanted -= part
                draw.left -= part
                if draw.period == len(draw.credit.periods):  # what an earlier period gets back ends at once
                    draw.credit.used -= part
                yield self.transaction(draw.credit, id, "REFUND", part, self.projects[step.debit])

    def transaction(self, credit: NaiveCredit, id: str, type: str, credits: int, project: str | None) -> Transaction:
        made = Transaction(id, credit, type, credits, project, self.now)
        credit.transactions.insert(0, made)
        credit.updated_at = self.now
        return made

    def live(self, id: str) -> NaiveCredit:
        if self.credits[id].deleted_at is not None:
            raise Refused(f"execution credit {id} is deleted")
        return self.credits[id]


def credit_on_the_wire(credit: NaiveCredit) -> dict[str, Any]:
    """As the service answers it."""
    return {
        "id": credit.id,
        "company": {"id": credit.company, "label": credit.company},
        "companyId": credit.company,
        "creditType": credit.credit_type,
        "rollupType": credit.rollup_type,
        "credits": credit.credits,
        "usedCredits": credit.used,
        "createdAt": wire(credit.created_at),
        "updatedAt": wire(credit.updated_at),
        "deletedAt": credit.deleted_at and wire(credit.deleted_at),
        "transactions": [
            transaction_on_the_wire(each) | {"executionCredit": {"id": credit.id, "usedCredits": credit.used}}
            for each in credit.transactions
        ],
    }


def transaction_on_the_wire(transaction: Transaction) -> dict[str, Any]:
    return {
        "id": transaction.id,
        "transactionId": transaction.transaction_id,
        "executionCreditId": transaction.credit.id,
        "transactionType": transaction.type,
        "credits": transaction.credits,
        "projectId": transaction.project,
        "createdAt": wire(transaction.at),
        "updatedAt": wire(transaction.at),
    }


def wire(instant: datetime) -> str:
    """In UTC, with 3 digits, or 6 where the microseconds are not whole milliseconds."""
    digits = 3 if instant.microsecond % 1000 == 0 else 6
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond:06}"[: 20 + digits] + "Z"


def stepped(anchor: datetime, months: int) -> datetime:
    """So many months later, on the anchor's day or the last one that the month has."""
    years, month = divmod(anchor.month - 1 + months, 12)
    year = anchor.year + years
    leap_day = month == 1 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, DAYS[month] + leap_day))
