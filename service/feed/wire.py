"""What the messages say, type by type: the models that both write a message's data and are its published JSON Schema.

They read the columns of the view `movements` and refuse what they do not know, so that nothing is told by halves.
Amounts are exact decimals as text; instants are in UTC. Fields are only ever added.
"""

from typing import ClassVar

from ledger.domain import events
from ledger.domain.values import Cause, GrantType, Kind
from service.feed.wire_parts import (
    ActorTold,
    After,
    At,
    AutoRecharge,
    DocumentTold,
    Exact,
    ExecutionCredit,
    GrantTold,
    Id,
    RuleNow,
    Schedule,
    TermsTold,
    Threshold,
    Wire,
)


class Told(Wire):
    """What every message says: the event's place in the log and in its stream, who did it, why, and both clocks.

    `recordedAt` is when the log took it; `transactionLast` the position of the last event of the same transaction.
    """

    EVENT: ClassVar[type[events.Event]]

    position: int
    transaction_id: Id
    transaction_last: int
    stream_id: Id
    stream_version: int
    recorded_at: At
    actor: ActorTold
    correlation_id: str | None
    causation_id: str | None
    kind: Kind
    holder: str | None
    currency: str | None
    resource: str | None
    document: DocumentTold | None


class LotTold(Told):
    """About one lot. `effectiveAt` is when it counts; `after` how the lot and its pool stand from then on."""

    lot: Id
    grant_type: GrantType | None
    cause: Cause
    effective_at: At
    after: After


class MovementTold(LotTold):
    """Credits moved: `amount` is signed. `useAt` is when they were used; a refund names its debit by `debitId`."""

    amount: Exact
    use_at: At | None
    debit_id: Id | None
    account_groups: list[str] | None


class GrantedTold(MovementTold):
    """Credits came into a lot."""

    EVENT = events.Granted
    terms: TermsTold
    grant: GrantTold | None


class DebitedTold(MovementTold):
    """Credits of this lot were used: one draw of a debit."""

    EVENT = events.Debited


class RefundedTold(MovementTold):
    """A draw of an earlier debit, or a part of it, came back to its lot."""

    EVENT = events.Refunded


class VoidedTold(MovementTold):
    """Credits were taken out of the lot by decision."""

    EVENT = events.Voided


class ExpiredTold(MovementTold):
    """What was left when the lot ended went out of it; `rolledOverTo` is the grant that it went to, if it did."""

    EVENT = events.Expired
    rolled_over_to: Id | None


class GrantChangedTold(LotTold):
    terms: TermsTold
    grant: GrantTold


class GrantUpdatedTold(GrantChangedTold):
    """A grant got other terms or texts by decision."""

    EVENT = events.GrantUpdated


class GrantPaymentRecordedTold(GrantChangedTold):
    """How far the payment of a grant has come."""

    EVENT = events.GrantPaymentRecorded


class ExecutionCreditDefinedTold(Told):
    """An execution credit as it is from now on."""

    EVENT = events.ExecutionCreditDefined
    definition: ExecutionCredit


class GrantScheduleDefinedTold(Told):
    """A grant schedule as it is from now on."""

    EVENT = events.GrantScheduleDefined
    definition: Schedule


class AutoRechargeDefinedTold(Told):
    """An automatic recharge as it is from now on: at each saving of its settings, and with each grant it makes."""

    EVENT = events.AutoRechargeDefined
    definition: AutoRecharge


class RuleTold(Told):
    definition: RuleNow


class AllocationRuleDefinedTold(RuleTold):
    """There is a new rule."""

    EVENT = events.AllocationRuleDefined


class AllocationRuleChangedTold(RuleTold):
    """A rule is another from now on."""

    EVENT = events.AllocationRuleChanged


class AllocationRuleRemovedTold(RuleTold):
    """A rule counts no more."""

    EVENT = events.AllocationRuleRemoved


class ThresholdReachedTold(Told):
    """Use in a UTC calendar month reached a rule's threshold for the first time."""

    EVENT = events.ThresholdReached
    definition: Threshold


MESSAGES: dict[str, type[Told]] = {
    told.EVENT.TOPIC: told
    for told in (
        GrantedTold,
        DebitedTold,
        RefundedTold,
        VoidedTold,
        ExpiredTold,
        GrantUpdatedTold,
        GrantPaymentRecordedTold,
        ExecutionCreditDefinedTold,
        GrantScheduleDefinedTold,
        AutoRechargeDefinedTold,
        AllocationRuleDefinedTold,
        AllocationRuleChangedTold,
        AllocationRuleRemovedTold,
        ThresholdReachedTold,
    )
}
"""The data of a message by its event's topic; one for each event there is."""
