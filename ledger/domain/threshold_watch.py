"""Which thresholds are reached when: a fold of tagged uses and of what becomes of rules, event by event.

A threshold counts as reached at the first event by which the use in a UTC calendar month is above zero and has come to
it: a debit, or a rule that is made or changed. What comes back later does not undo it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple, TypeAlias, assert_never

from ledger.domain.allocation_rule import above_threshold
from ledger.domain.auto_recharge import month_of
from ledger.domain.credits import Credits
from ledger.domain.events import RuleDetails
from ledger.domain.instants import Instant
from ledger.domain.values import StreamId, TransactionId


class UsedIn(NamedTuple):
    """What uses are summed by: the UTC calendar month, the currency, and the account groups that they name."""

    month: str
    currency: str
    account_groups: tuple[str, ...]


class Used(NamedTuple):
    """A use that names account groups (`used` above zero), or what came back of one (below zero); in Credits."""

    position: int
    transaction_id: TransactionId
    recorded_at: Instant
    use_at: Instant
    currency: str
    account_groups: tuple[str, ...]
    used: Credits


class RuleTold(NamedTuple):
    """A rule was made, changed or removed: it is as told from now on."""

    position: int
    transaction_id: TransactionId
    recorded_at: Instant
    rule: StreamId
    details: RuleDetails


class Recorded(NamedTuple):
    """That a rule's threshold was reached in a month is in the log."""

    rule: StreamId
    month: str


Step: TypeAlias = Used | RuleTold | Recorded


class Reached(NamedTuple):
    """A rule's threshold was reached in a month for the first time, by the event at `position`; `used` in Credits."""

    rule: StreamId
    month: str
    used: Credits
    allocated: int
    alarm_threshold: int
    position: int
    recorded_at: Instant
    transaction_id: TransactionId


class ThresholdWatch:
    """The state at one position of the log: what was used, the rules there are, and what was reached so far."""

    def __init__(
        self,
        used: Mapping[UsedIn, Credits] | None = None,
        rules: Mapping[StreamId, RuleDetails] | None = None,
        reached: Iterable[tuple[StreamId, str]] = (),
    ) -> None:
        self._used: dict[UsedIn, Credits] = {}
        self._used_under: defaultdict[str, set[UsedIn]] = defaultdict(set)
        """What was used, by account group: a rule does not look at what names none of its groups."""
        for used_in, amount in (used or {}).items():
            self._add(used_in, amount)
        self._rules: dict[StreamId, RuleDetails] = {}
        self._of_group: defaultdict[str, set[StreamId]] = defaultdict(set)
        self._of_rule: dict[StreamId, defaultdict[str, Credits]] = {}
        """What counts for each rule, by month."""
        self._reached = set(reached)
        for rule, details in (rules or {}).items():
            self._count(rule, details)

    def follow(self, steps: Iterable[Step]) -> Iterator[Reached]:
        """Take in the next steps, in order; yields what is reached by them, in order. To be exhausted."""
        uses: list[Used] = []
        for step in steps:
            if isinstance(step, Used):
                uses.append(step)
                continue
            yield from self._use(uses)
            uses = []
            match step:
                case RuleTold():
                    yield from self._tell(step)
                case Recorded():
                    self._reached.add((step.rule, step.month))
                case _:
                    assert_never(step)
        yield from self._use(uses)

    def _tell(self, step: RuleTold) -> Iterator[Reached]:
        self._forget(step.rule)
        if step.details.removed_at is None:
            self._count(step.rule, step.details)
            for month in sorted(self._of_rule[step.rule]):
                yield from self._look(step.rule, month, step)

    def _use(self, uses: Sequence[Used]) -> Iterator[Reached]:
        """Only rules that these uses together could bring to their threshold are looked at use by use."""
        told = [(UsedIn(month_of(use.use_at), use.currency, use.account_groups), use) for use in uses]
        net: defaultdict[UsedIn, Credits] = defaultdict(int)
        gross: defaultdict[UsedIn, Credits] = defaultdict(int)
        for used_in, use in told:
            net[used_in] += use.used
            gross[used_in] += max(use.used, 0)
        counting = {used_in: self._counting(used_in) for used_in in net}
        most: defaultdict[tuple[StreamId, str], Credits] = defaultdict(int)
        for used_in, used in gross.items():
            for rule in counting[used_in]:
                most[rule, used_in.month] += used
        near = {place for place, more in most.items() if self._could_reach(*place, more)}
        for used_in, used in net.items():
            self._add(used_in, used)
            for rule in counting[used_in]:
                if (rule, used_in.month) not in near:
                    self._of_rule[rule][used_in.month] += used
        if near:
            yield from self._use_one_by_one(told, counting, near)

    def _use_one_by_one(
        self,
        told: Iterable[tuple[UsedIn, Used]],
        counting: Mapping[UsedIn, Sequence[StreamId]],
        near: Set[tuple[StreamId, str]],
    ) -> Iterator[Reached]:
        nearly = {
            used_in: [rule for rule in rules if (rule, used_in.month) in near] for used_in, rules in counting.items()
        }
        for used_in, use in told:
            for rule in nearly[used_in]:
                self._of_rule[rule][used_in.month] += use.used
                if use.used > 0:
                    yield from self._look(rule, used_in.month, use)

    def _counting(self, used_in: UsedIn) -> list[StreamId]:
        """The rules for which such a use counts."""
        rules = {rule for group in used_in.account_groups for rule in self._of_group.get(group, ())}
        return sorted(rule for rule in rules if self._rules[rule].currency in (None, used_in.currency))

    def _could_reach(self, rule: StreamId, month: str, more: Credits) -> bool:
        details, used = self._rules[rule], self._of_rule[rule][month] + more
        return (rule, month) not in self._reached and above_threshold(used, details.allocated, details.alarm_threshold)

    def _look(self, rule: StreamId, month: str, step: Used | RuleTold) -> Iterator[Reached]:
        details, used = self._rules[rule], self._of_rule[rule][month]
        threshold = details.alarm_threshold
        if used > 0 and (rule, month) not in self._reached and above_threshold(used, details.allocated, threshold):
            self._reached.add((rule, month))
            yield Reached(
                rule,
                month,
                used,
                details.allocated,
                threshold,
                step.position,
                step.recorded_at,
                step.transaction_id,
            )

    def _count(self, rule: StreamId, details: RuleDetails) -> None:
        self._rules[rule] = details
        for group in details.account_groups:
            self._of_group[group].add(rule)
        counted = self._of_rule[rule] = defaultdict(int)
        for used_in in set().union(*(self._used_under.get(group, ()) for group in details.account_groups)):
            if details.currency in (None, used_in.currency):
                counted[used_in.month] += self._used[used_in]

    def _add(self, used_in: UsedIn, amount: Credits) -> None:
        if used_in not in self._used:
            for group in used_in.account_groups:
                self._used_under[group].add(used_in)
        self._used[used_in] = self._used.get(used_in, 0) + amount

    def _forget(self, rule: StreamId) -> None:
        details = self._rules.pop(rule, None)
        if details is not None:
            del self._of_rule[rule]
            for group in details.account_groups:
                self._of_group[group].discard(rule)
