"""What one GraphQL request carries: who asks, its reads, its writes, and look-ups that are made once for many rows."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

from ledger.application import Command, CreditLedger, LedgerUnavailable, Receipt
from ledger.domain.refusals import Refusal
from ledger.domain.values import DocumentId, Kind, LotId, StreamId
from ledger.store.documents import load_documents
from projections.lots.queries import LotRow, grants_as_issued, lots_by_id
from projections.reading import Snapshot
from service.access import Caller, Right
from service.reads import Reads

Answer = TypeVar("Answer")
SETTLED_POOLS_MAX = 1000
log = logging.getLogger(__name__)


@dataclass
class RequestContext:
    """`wrote` is the last position that this request's commands were answered with; 0: none was."""

    caller: Caller
    ledger: CreditLedger
    reads: Reads
    request_id: str
    operation_name: str | None = None
    wrote: int = 0
    documents: "DataLoader[DocumentId, dict[str, Any] | None]" = field(init=False)
    lots: "DataLoader[LotId, LotRow | None]" = field(init=False)
    issued: "DataLoader[StreamId, LotRow]" = field(init=False)

    def __post_init__(self) -> None:
        self.documents = DataLoader(self._load_documents)
        self.lots = DataLoader(self._load_lots)
        self.issued = DataLoader(self._load_issued)

    async def carry_out(self, build: Callable[[], Command]) -> Receipt:
        """Carry out a command in the caller's name. Refuses: IdentityForbidden, and as the command does."""
        self.caller.require(Right.WRITE)
        command = build()
        if command.pool is not None:
            self.caller.require_holder(command.pool.holder)
        command.actor = self.caller.actor
        command.holders = self.caller.holders
        command.correlation_id = self.request_id
        receipt = await self.ledger.execute(command)
        self.wrote = max(self.wrote, receipt.position)
        return receipt

    async def ask(
        self, question: Callable[[Snapshot], Answer], *, holder: str | None = None, at_least: int | None = None
    ) -> Answer:
        """Ask the read models in the caller's name. Refuses: IdentityForbidden, PositionNotReached."""
        self.caller.require(Right.READ)
        if holder is not None:
            self.caller.require_holder(holder)
        return await self.reads.ask(question, at_least=at_least)

    async def settle(self, kind: Kind, holder: str) -> None:
        """Have written what is due on a holder's pools, so that it stands in his ledger at the instant it fell due."""
        try:
            due = await self.reads.beside(lambda: self.ledger.due_pools(SETTLED_POOLS_MAX, kind=kind, holder=holder))
            if due:
                await self.ledger.settle(due)
                await self.reads.look_again(self.ledger.writer.head)
        except (Refusal, LedgerUnavailable) as error:
            log.warning("what is due for a read could not be written: %s", error)

    async def _load_documents(self, ids: Sequence[DocumentId]) -> list[dict[str, Any] | None]:
        found = await self.reads.ask_log(load_documents, ids)
        return [found.get(document) for document in ids]

    async def _load_lots(self, lots: Sequence[LotId]) -> list[LotRow | None]:
        found = await self.reads.ask(lambda snapshot: lots_by_id(snapshot, lots))
        return [found.get(lot) for lot in lots]

    async def _load_issued(self, grants: Sequence[StreamId]) -> list[LotRow]:
        found = await self.reads.ask_log(grants_as_issued, grants)
        return [found[grant] for grant in grants]


Info = strawberry.Info[RequestContext, None]
