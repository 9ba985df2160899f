"""The state of an audit: streams, lots and pools as the laws leave them, beside the texts that lines tell them in."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from ledger.domain.allocation_rule import AllocationRule
from ledger.domain.audit.lines import LONG_AGO, NEVER, NO_DATA, Line, PoolText, text_of_instant
from ledger.domain.auto_recharge import AutoRecharge
from ledger.domain.billing_cycle import BillingCycle
from ledger.domain.credits import Credits, credits_column
from ledger.domain.events import Debited
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.grant_schedule import GrantSchedule
from ledger.domain.lots import Lot
from ledger.domain.values import Cause, Terms

Aggregate: TypeAlias = ExecutionCredit | GrantSchedule | AutoRecharge | AllocationRule
by_burn_down = attrgetter("burn_down_key")


@dataclass(slots=True, eq=False)
class Stream:
    """One aggregate's events so far. `first` is the topic that it began with."""

    stream_id: str
    first: str
    version: int = 0
    aggregate: Aggregate | None = None
    turned: BillingCycle | None = None
    """Of an execution credit: the cycle that its last event, a renewal, began; its definition is to follow."""


@dataclass(slots=True, eq=False)
class AuditedLot(Lot):
    """A lot beside what its lines have to repeat. Instants are texts of lines; amounts are Credits, not signed."""

    stream: Stream = field(kw_only=True)
    books: "AuditedPool" = field(kw_only=True)
    first_position: str = field(kw_only=True)
    facts: tuple[str, ...] = field(kw_only=True)
    """Its stream, pool and grant type."""
    of_debits: str = ""
    """What all lines of its debits have behind what differs, up to what they tell besides the columns."""
    of_plain_debits: str = ""
    """The same, of those that tell nothing more."""
    last_position: str = ""
    begins: str = LONG_AGO
    ends: str = NEVER
    awaits: bool = False
    voided_amount: Credits = 0
    expired_amount: Credits = 0
    rolled: bool = False

    def take_terms(self, terms: Terms, version: int) -> None:
        Lot.take_terms(self, terms, version)  # a dataclass with slots is not the class that super() would look in
        self.begins, self.ends = text_of_instant(terms.effective_at), text_of_instant(terms.expires_at)
        self.awaits = terms.awaiting_payment
        if self.granted > 0:
            self._repeat()

    def hold(self, granted: Credits, used: Credits, balance: Credits) -> None:
        """Be in this state from now on."""
        self.used, self.balance = used, balance
        if granted != self.granted:
            self.granted = granted
            self._repeat()

    def usable(self, instant: str) -> bool:
        return self.begins <= instant < self.ends and not self.awaits and not self.voided

    def ended(self, instant: str) -> bool:
        return self.voided or self.ends <= instant

    def _repeat(self) -> None:
        constant = (Debited.TOPIC, str(Debited.SCHEMA_VERSION), Cause.CONSUMED, *self.facts)
        self.of_debits = "\t".join((*constant, str(self.terms_version), credits_column(self.granted), ""))
        self.of_plain_debits = f"{self.of_debits}{NO_DATA}\t"


@dataclass(slots=True, eq=False)
class Draw:
    """What one debit took from a lot, and what of it came back."""

    lot: AuditedLot
    debited: Credits
    refunded: Credits = 0


@dataclass(slots=True, eq=False)
class Debit:
    """A debit of which something comes back: its draws in their order, its use and its account groups."""

    pool: "AuditedPool"
    use_at: str
    account_groups: str
    draws: list[Draw]

    def last_open(self) -> Draw | None:
        """The draw that the next refund goes to."""
        return next((draw for draw in reversed(self.draws) if draw.refunded < draw.debited), None)


class OwedEnd(NamedTuple):
    """What a refund brought to a lot that has ended: the pool's next event has to take it out again."""

    lot: AuditedLot
    amount: Credits
    line: Line


class Rolling(NamedTuple):
    """What left a lot by rollover: the pool's next event has to bring it into the grant `target`."""

    lot: AuditedLot
    amount: Credits
    gone_before: Credits
    schedule: GrantSchedule | None
    target: str
    line: Line


class AuditedPool:
    """The lots of a pool in burn-down order, its sums, and what the events so far leave open. Amounts are Credits."""

    __slots__ = (
        *(
            "balance",
            "credits",
            "debited",
            "emptied",
            "expired",
            "front",
            "front_until",
            "granted",
            "key",
            "last_debit",
        ),
        *("lots", "next_due", "overdue", "owed", "position", "recharge", "refunded", "rolling"),
        *("schedules", "voided"),
    )

    def __init__(self, key: PoolText) -> None:
        self.key = key
        self.balance: Credits = 0
        self.granted: Credits = 0
        self.debited: Credits = 0
        self.refunded: Credits = 0
        self.voided: Credits = 0
        self.expired: Credits = 0
        self.position = "0"
        """Of its last movement."""
        self.lots: list[AuditedLot] = []
        """The open ones."""
        self.credits: list[ExecutionCredit] = []
        self.schedules: dict[str, GrantSchedule] = {}
        """Those that still grant."""
        self.recharge: AutoRecharge | None = None
        self.next_due = NEVER
        """Nothing falls due before this instant; a lower bound."""
        self.overdue: set[str] = set()
        """What is due and was told of already."""
        self.front: AuditedLot | None = None
        """The first usable lot, for events recorded before `front_until`; None: it has to be looked for."""
        self.front_until = LONG_AGO
        self.last_debit = ""
        self.emptied: tuple[str, str, str] | None = None
        """The last debit that emptied a lot, its use and account groups: it alone may draw on from the next lot."""
        self.owed: OwedEnd | None = None
        self.rolling: Rolling | None = None

    @property
    def moved(self) -> bool:
        """Whether credits ever moved in it."""
        return self.position != "0"

    def enter(self, lot: AuditedLot) -> None:
        """A lot is open from now on."""
        self.front = None
        insort(self.lots, lot, key=by_burn_down)
        self.next_due = min(self.next_due, lot.ends)

    def leave(self, lot: AuditedLot) -> None:
        self.front = None
        del self.lots[bisect_left(self.lots, lot.burn_down_key, key=by_burn_down)]

    def first_usable(self, instant: str) -> AuditedLot | None:
        """The lot that pays first at an instant; it is kept for the next debits, until it may be another."""
        until = NEVER
        for lot in self.lots:
            if lot.usable(instant):
                self.front, self.front_until = lot, min(until, self.next_due, lot.ends)
                return lot
            if lot.begins > instant:
                until = min(until, lot.begins)
        return None

    def due(self, instant: str) -> Iterator[tuple[str, str]]:
        """What is due by an instant, and was not told of yet: when, and what it is."""
        if instant < self.next_due:
            return
        coming = [(lot.ends, f"the end of lot {lot.lot_id}") for lot in self.lots]
        coming += [
            (
                text_of_instant(credit.present_lot.terms.expires_at),
                f"the renewal of execution credit {credit.stream_id}",
            )
            for credit in self.credits
            if credit.live and credit.renewing and credit.present_lot_id is not None
        ]
        coming += [
            (text_of_instant(schedule.next_at), f"part {schedule.next_part} of schedule {schedule.stream_id}")
            for schedule in self.schedules.values()
        ]
        found = sorted((at, what) for at, what in coming if at <= instant and what not in self.overdue)
        if not found:
            self.next_due = min((at for at, what in coming if what not in self.overdue), default=NEVER)
        yield from found
