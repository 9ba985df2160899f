"""Commands on execution credits; debits and refunds of them are the same commands as those of grants."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ledger.application.commands import Command, Known
from ledger.application.inputs import Document, choice, id_of, whole_credits
from ledger.domain import execution_credit
from ledger.domain.credits import credits_text
from ledger.domain.decision import Decision
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.refusals import ExecutionCreditDeleted, ExecutionCreditNotFound, InvalidArgument, Refusal
from ledger.domain.values import CreditType, Kind, PoolKey, RollupType, StreamId, optional_instant, text_of

PROJECT = "projectId"
"""The dimension of a use under which its project is kept."""


def project_dimensions(project: str | None) -> dict[str, str] | None:
    """The dimensions of a use for a project; none where it is for none. Refuses: InvalidArgument."""
    return {PROJECT: text_of(project, field=PROJECT)} if project else None


@dataclass(slots=True, kw_only=True)
class OpenExecutionCredit(Command):
    """Create a company's execution credit of one type and grant its first period."""

    operation: ClassVar[str] = "open_execution_credit"
    kind: ClassVar[Kind] = Kind.EXECUTION_CREDIT

    company: str
    credit_type: CreditType
    credits: Any
    rollup_type: RollupType
    period_anchor: datetime | None = None
    company_label: str | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.company = text_of(self.company, field="companyId")
        self.credit_type = choice(CreditType, self.credit_type, field="creditType")
        self.rollup_type = choice(RollupType, self.rollup_type, field="rollupType")
        self.credits = whole_credits(self.credits, field="credits")
        self.period_anchor = optional_instant(self.period_anchor, field="periodAnchor")
        if self.company_label is not None:
            self.company_label = text_of(self.company_label, field="companyLabel")
        if self.company_label == self.company:
            self.company_label = None  # which it is by default
        self.pool = PoolKey(self.kind, self.company, self.credit_type.value, None)

    @property
    def scope(self) -> str:
        return self.company

    def normalised(self) -> dict[str, object]:
        return {
            "creditType": self.credit_type.value,
            "rollupType": self.rollup_type.value,
            "credits": credits_text(self.credits),
            "periodAnchor": None if self.period_anchor is None else self.period_anchor.isoformat(),
            "companyLabel": self.company_label,
        }

    def document(self, known: Known) -> Document | None:
        return Document.of(company_label=self.company_label)

    def decide(self, decision: Decision, known: Known) -> None:
        anchor_at = decision.now if self.period_anchor is None else self.period_anchor
        stream_id = StreamId(decision.new_id())
        execution_credit.open_credit(decision, stream_id, self.credit_type, self.rollup_type, self.credits, anchor_at)


@dataclass(slots=True, kw_only=True)
class ExecutionCreditCommand(Command):
    """A command on one execution credit, named by its id."""

    kind: ClassVar[Kind] = Kind.EXECUTION_CREDIT

    credit: str

    @property
    def scope(self) -> str:
        return self.credit

    @property
    def named(self) -> str:
        return self.credit

    def not_found(self) -> Refusal:
        return ExecutionCreditNotFound(self.credit)

    def credit_in(self, decision: Decision, known: Known) -> ExecutionCredit:
        """The living credit. Refuses: ExecutionCreditNotFound, ExecutionCreditDeleted."""
        stream_id = known.streams.get(self.credit)
        if stream_id is None:  # what has this name is a debit that another command of the batch is about
            raise self.not_found()
        found = decision.pool.aggregates.get(stream_id)
        if not isinstance(found, ExecutionCredit) or not found.live:  # a pool holds no deleted ones, or lets them go
            raise ExecutionCreditDeleted(self.credit)
        return found


@dataclass(slots=True, kw_only=True)
class UpdateExecutionCredit(ExecutionCreditCommand):
    """Change the allotment, from the present period on, or the rollup type, from the next renewal on."""

    operation: ClassVar[str] = "update_execution_credit"

    credits: Any = None
    rollup_type: RollupType | None = None

    def __post_init__(self) -> None:
        self.check_envelope()
        self.credit = id_of(self.credit, field="id")
        if self.credits is not None:
            self.credits = whole_credits(self.credits, field="credits")
        if self.rollup_type is not None:
            self.rollup_type = choice(RollupType, self.rollup_type, field="rollupType")
        if self.credits is None and self.rollup_type is None:
            raise InvalidArgument("input", "must change something")

    def normalised(self) -> dict[str, object]:
        return {
            "credits": None if self.credits is None else credits_text(self.credits),
            "rollupType": None if self.rollup_type is None else self.rollup_type.value,
        }

    def decide(self, decision: Decision, known: Known) -> None:
        execution_credit.update(decision, self.credit_in(decision, known), self.credits, self.rollup_type)


@dataclass(slots=True, kw_only=True)
class DeleteExecutionCredit(ExecutionCreditCommand):
    """Take an execution credit out of use; what is left is void."""

    operation: ClassVar[str] = "delete_execution_credit"

    def __post_init__(self) -> None:
        self.check_envelope()
        self.credit = id_of(self.credit, field="id")

    def normalised(self) -> dict[str, object]:
        return {}

    def decide(self, decision: Decision, known: Known) -> None:
        execution_credit.delete(decision, self.credit_in(decision, known))
