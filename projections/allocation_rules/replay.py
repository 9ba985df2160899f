"""Allocation rules, folded by Python: each version of each, in force until the next."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.domain.events import RULE_EVENTS, AllocationRuleRemoved, RuleDetails, ThresholdReached
from ledger.domain.values import StreamId
from projections.replay import EventRow, Key, Replay, Rest

TELL_THE_RULE = frozenset(event_type.TOPIC for event_type in RULE_EVENTS - {ThresholdReached})


@dataclass(slots=True)
class VersionState:
    details: RuleDetails
    until_position: int | None = None


class AllocationRulesReplay(Replay[VersionState]):
    columns = (
        *("rule", "from_position", "until_position"),
        *("name", "account_groups", "allocated", "alarm_threshold", "currency", "created_at"),
    )
    key_size = 2
    part_of_row = "hashtextextended('', 0)"  # their events have no holder

    def __init__(self) -> None:
        super().__init__()
        self._in_force: dict[StreamId, VersionState] = {}

    def take(self, stretch: Sequence[EventRow]) -> None:
        for event in stretch:
            if event.type not in TELL_THE_RULE:
                continue
            former = self._in_force.pop(event.stream_id, None)
            if former is not None:
                former.until_position = event.position
            if event.type != AllocationRuleRemoved.TOPIC:
                assert event.definition is not None
                version = VersionState(RuleDetails.model_validate(event.definition["rule"]))
                key: Key = (event.stream_id, event.position)
                self.states[key] = self._in_force[event.stream_id] = version

    def rest(self, state: VersionState) -> Rest:
        rule = state.details
        return (
            *(state.until_position, rule.name, rule.account_groups, rule.allocated, rule.alarm_threshold),
            *(rule.currency, rule.created_at),
        )
