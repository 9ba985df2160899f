"""When thresholds are reached, written a second time from the contract: after every step everything is counted again.

Nothing is kept but the steps: what a rule's groups used in a month is a sum over all uses there ever were.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from ledger.domain.events import RuleDetails
from ledger.domain.threshold_watch import Reached, Recorded, RuleTold, Step, Used
from ledger.domain.values import StreamId


def naive_reached(steps: Sequence[Step]) -> list[list[Reached]]:
    """What is reached for the first time by each of the steps."""
    known: set[tuple[StreamId, str]] = set()
    found: list[list[Reached]] = []
    for place, step in enumerate(steps):
        found.append([])
        if isinstance(step, Recorded):
            known.add((step.rule, step.month))
            continue
        for rule, month, used in reached_now(steps[: place + 1]):
            if (rule, month) not in known:
                known.add((rule, month))
                details = live_rules(steps[: place + 1])[rule]
                found[-1].append(
                    Reached(
                        rule,
                        month,
                        used,
                        details.allocated,
                        details.alarm_threshold,
                        step.position,
                        step.recorded_at,
                        step.transaction_id,
                    )
                )
    return found


def reached_now(steps: Sequence[Step]) -> Iterator[tuple[StreamId, str, int]]:
    """Every rule and month in which use above zero has come to the threshold, whenever it did."""
    uses = [step for step in steps if isinstance(step, Used)]
    months = sorted({month_of_use(step) for step in uses})
    for rule, details in sorted(live_rules(steps).items()):
        for month in months:
            used = sum(step.used for step in uses if month_of_use(step) == month and counts_for(details, step))
            percent = Fraction(details.alarm_threshold * details.allocated, 100)
            if used > 0 and Fraction(used, 10**9) >= percent:
                yield rule, month, used


def live_rules(steps: Sequence[Step]) -> dict[StreamId, RuleDetails]:
    told = {step.rule: step.details for step in steps if isinstance(step, RuleTold)}
    return {rule: details for rule, details in told.items() if details.removed_at is None}


def counts_for(details: RuleDetails, step: Used) -> bool:
    named = any(group in step.account_groups for group in details.account_groups)
    return named and (details.currency is None or details.currency == step.currency)


def month_of_use(step: Used) -> str:
    return step.use_at.date().isoformat()[:7]
