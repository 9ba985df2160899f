"""Steps of a scenario on allocation rules, whose pool is RULES. A rule's stream is called by a name of its own."""

from typing import Any

from ledger.domain import allocation_rule
from ledger.domain.credits import Credits
from ledger.domain.events import RuleDetails
from ledger.domain.values import StreamId
from tests.domain.scenario import START, Step


def details(name: str = "rule", **others: Any) -> RuleDetails:
    """A rule for 100 credits of group g that warns from 80 percent on, but for what is told."""
    values = {"account_groups": ("g",), "allocated": 100, "alarm_threshold": 80, "created_at": START}
    return RuleDetails(name=name, **values | others)


def define_rule(rule: str, name: str = "rule", **others: Any) -> Step:
    return Step(
        lambda book, decision: allocation_rule.define(
            decision, StreamId(rule), details(name, **{"created_at": decision.now} | others)
        )
    )


def change_rule(rule: str, **changes: Any) -> Step:
    return Step(lambda book, decision: allocation_rule.change(decision, StreamId(rule), changes))


def remove_rule(rule: str) -> Step:
    return Step(lambda book, decision: allocation_rule.remove(decision, StreamId(rule)))


def reach(rule: str, month: str = "2026-01", used: Credits = 80 * 10**9) -> Step:
    """Record that the rule's threshold was reached in a month."""
    facts = {"used": used, "allocated": 100, "alarm_threshold": 80, "reached_position": 7, "reached_at": START}
    return Step(lambda book, decision: allocation_rule.record_threshold(decision, StreamId(rule), month, **facts))
