"""The aggregate of an allocation rule: which account groups are to use how many credits, and when to warn.

No use is ever stopped by a rule. Names are unique among the rules that there are; whether one is taken is decided under
the writers' lock, on the rules and names that a batch's commands are about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.domain.credits import UNITS_PER_CREDIT, Credits
from ledger.domain.events import (
    AllocationRuleChanged,
    AllocationRuleDefined,
    AllocationRuleEvent,
    AllocationRuleRemoved,
    LedgerEvent,
    RuleDetails,
    RuleEvent,
    ThresholdReached,
)
from ledger.domain.lots import LawBroken, check_version
from ledger.domain.pool import Pool
from ledger.domain.refusals import AllocationRuleExists, AllocationRuleNotFound
from ledger.domain.values import RULES, StreamId

if TYPE_CHECKING:
    from ledger.domain.decision import Decision

PERCENTAGE_MAX = 100


@dataclass(slots=True)
class AllocationRule:
    """The state of one rule. `former_name` is what it was called before its last event; None: it was not there."""

    stream_id: StreamId
    version: int
    details: RuleDetails
    former_name: str | None = None

    @property
    def live(self) -> bool:
        return self.details.removed_at is None


class RuleBook(Pool):
    """The rules and names that a batch is about; it knows no others, and forgets them with the batch.

    `reached` are the months for which a threshold was recorded, by rule.
    """

    __slots__ = ("names", "reached", "rules")

    def __init__(self) -> None:
        super().__init__(RULES)
        self.rules: dict[StreamId, AllocationRule] = {}
        self.names: dict[str, StreamId] = {}
        self.reached: set[tuple[StreamId, str]] = set()

    def rule(self, stream_id: StreamId) -> AllocationRule:
        """A rule that there is. Refuses: AllocationRuleNotFound."""
        known = self.rules.get(stream_id)
        if known is None or not known.live:
            raise AllocationRuleNotFound(stream_id)
        return known

    def version(self, stream_id: StreamId) -> int:
        known = self.rules.get(stream_id)
        return 0 if known is None else known.version

    def follows(self, event: LedgerEvent) -> bool:
        """Never: what other processes write is looked up under the lock."""
        return False

    def forget_closed(self) -> None:
        self.rules.clear()
        self.names.clear()
        self.reached.clear()

    def evolve(self, event: LedgerEvent) -> None:
        """Apply one event to its rule."""
        if not isinstance(event, RuleEvent):
            raise LawBroken(f"{event.TOPIC} is not about an allocation rule")
        known = self.rules.get(event.originator_id)
        if known is not None and known.live:
            self.names.pop(known.details.name, None)
        evolved = self.rules[event.originator_id] = evolve(known, event)
        if evolved.live:
            self.names[evolved.details.name] = event.originator_id
        if isinstance(event, ThresholdReached):
            self.reached.add((event.originator_id, event.month))


def define(decision: "Decision", stream_id: StreamId, details: RuleDetails) -> None:
    """Make a rule. Refuses: AllocationRuleExists (a name that another has)."""
    _check_name(_book(decision), details.name, stream_id)
    decision.define(AllocationRuleDefined, stream_id, rule=details)


def change(decision: "Decision", stream_id: StreamId, changes: Mapping[str, Any]) -> None:
    """A rule is as before but for these fields. Refuses: AllocationRuleNotFound, AllocationRuleExists."""
    book = _book(decision)
    details = book.rule(stream_id).details.model_copy(update=dict(changes))
    _check_name(book, details.name, stream_id)
    decision.define(AllocationRuleChanged, stream_id, rule=details)


def remove(decision: "Decision", stream_id: StreamId) -> None:
    """Remove a rule; its name is free again. Refuses: AllocationRuleNotFound."""
    details = _book(decision).rule(stream_id).details
    removed = details.model_copy(update={"removed_at": decision.now})
    decision.define(AllocationRuleRemoved, stream_id, rule=removed)


def record_threshold(decision: "Decision", stream_id: StreamId, month: str, **facts: Any) -> None:
    """Record that a threshold was reached, once for a rule and month; also of a rule that was removed since.

    Refuses: AllocationRuleNotFound (there never was such a rule).
    """
    book = _book(decision)
    known = book.rules.get(stream_id)
    if known is None:
        raise AllocationRuleNotFound(stream_id)
    if (stream_id, month) not in book.reached:
        decision.define(ThresholdReached, stream_id, rule=known.details, month=month, **facts)


def evolve(known: AllocationRule | None, event: AllocationRuleEvent) -> AllocationRule:
    """Apply one event of this rule, which tells it whole."""
    if known is None:
        known = AllocationRule(event.originator_id, event.originator_version, event.rule)
    else:
        check_version(known.version, event)
        known.version, known.former_name, known.details = event.originator_version, known.details.name, event.rule
    return known


def percentage(used: Credits, allocated: int) -> int:
    """How much of the whole credits that are allocated is used, in percent, rounded down; may exceed 100.

    Of nothing, any use is 100. Source: the contract of allocation rules.
    """
    if allocated == 0:
        return PERCENTAGE_MAX if used > 0 else 0
    return used * PERCENTAGE_MAX // (allocated * UNITS_PER_CREDIT)


def above_threshold(used: Credits, allocated: int, alarm_threshold: int) -> bool:
    """Whether use has come to the threshold, on exact values: used x 100 >= threshold x allocated.

    Of nothing, any use has, and none where the threshold is 0. Source: the contract of allocation rules.
    """
    if allocated == 0:
        return used > 0 or alarm_threshold == 0
    return used * PERCENTAGE_MAX >= alarm_threshold * allocated * UNITS_PER_CREDIT


def _book(decision: "Decision") -> RuleBook:
    assert isinstance(decision.pool, RuleBook)
    return decision.pool


def _check_name(book: RuleBook, name: str, stream_id: StreamId) -> None:
    if book.names.get(name, stream_id) != stream_id:
        raise AllocationRuleExists(name)
