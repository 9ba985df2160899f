"""What one GraphQL request carries: who asks, its reads, its writes, and look-ups that are made once for many rows."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

from ledger.application import Command, CreditLedger, LedgerUnavailable, Receipt
from ledger.domain.instants import Instant
from ledger.domain.refusals import Refusal
from ledger.domain.values import DocumentId, Kind, LotId, PoolKey, StreamId
from ledger.store.documents import load_documents
from projections.lots.queries import LotRow, Usable, lots_by_id, names_of_grants, usable_of_pools
from projections.reading import Snapshot
from service.access import Caller, Right
from service.reads import Reads

Answer = TypeVar("Answer")
SETTLED_POOLS_MAX = 1000
SETTLING_TRIES_MAX = 3
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
    points: int = 0
    """How many points of usage this request has asked for."""
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)
    documents: "DataLoader[DocumentId, dict[str, Any] | None]" = field(init=False)
    lots: "DataLoader[LotId, LotRow | None]" = field(init=False)
    names: "DataLoader[StreamId, str]" = field(init=False)
    usable: "DataLoader[tuple[PoolKey, int], tuple[Usable, Instant] | None]" = field(init=False)
    """What is usable in a pool once a position is reached."""

    def __post_init__(self) -> None:
        self.documents = DataLoader(self._load_documents)
        self.lots = DataLoader(self._load_lots)
        self.names = DataLoader(self._load_names)
        self.usable = DataLoader(self._load_usable)

    async def carry_out(self, build: Callable[[], Command]) -> Receipt:
        """Carry out a command in the caller's name. Refuses: IdentityForbidden, and as the command does."""
        self.caller.require(Right.WRITE)
        receipt = await self.ledger.execute(self._own(build))
        self.wrote = max(self.wrote, receipt.position)
        return receipt

    async def carry_out_each(
        self, builds: Sequence[Callable[[], Command]]
    ) -> list[Receipt | Refusal | LedgerUnavailable]:
        """Carry out commands in their order, each with an outcome of its own; answered when all are durable.

        Refuses as a whole: IdentityForbidden (no right to write at all), QueueFull, LedgerUnavailable.
        """
        self.caller.require(Right.WRITE)
        outcomes: dict[int, Receipt | Refusal | LedgerUnavailable] = {}
        commands: dict[int, Command] = {}
        for index, build in enumerate(builds):
            try:
                commands[index] = self._own(build)
            except Refusal as refusal:
                outcomes[index] = refusal
        carried_out = await self.ledger.execute_many(commands.values())
        outcomes |= dict(zip(commands, carried_out, strict=True))
        positions = [outcome.position for outcome in carried_out if isinstance(outcome, Receipt)]
        self.wrote = max([self.wrote, *positions])
        return [outcomes[index] for index in range(len(builds))]

    def _own(self, build: Callable[[], Command]) -> Command:
        """A command in the caller's name. Refuses: IdentityForbidden, and what building it does."""
        command = build()
        if command.pool is not None:
            self.caller.require_holder(command.pool.holder)
        command.actor = self.caller.actor
        command.holders = self.caller.holders
        command.correlation_id = self.request_id
        return command

    async def ask(
        self, question: Callable[[Snapshot], Answer], *, holder: str | None = None, at_least: int | None = None
    ) -> Answer:
        """Ask the read models in the caller's name. Refuses: IdentityForbidden, PositionNotReached.

        With a `holder`, the answer shows all that is due for him at its instant, job or no job: what has lapsed, rolled
        over or been granted by schedule is written first. Whether something was missed is looked up after the snapshot
        was taken; then the question is asked again. Where it cannot be written, the answer is stale.
        """
        self.caller.require(Right.READ)
        if holder is None:
            return await self.reads.ask(question, at_least=at_least)
        self.caller.require_holder(holder)
        for _ in range(SETTLING_TRIES_MAX):
            answer, seen = await self.reads.ask(lambda snapshot: (question(snapshot), snapshot), at_least=at_least)
            if seen.stale or not await self._missed(Kind.CREDIT_GRANT, holder, seen):
                return answer
        self.reads.stale = True
        return answer

    async def _missed(self, kind: Kind, holder: str, seen: Snapshot) -> bool:
        """Whether the snapshot lacks something that was due at its instant; it is written now."""
        try:
            found = await self.reads.beside(
                lambda: self.ledger.unsettled(kind, holder, now=seen.now, position=seen.position)
            )
            if found.due:
                due = await self.reads.beside(
                    lambda: self.ledger.due_pools(SETTLED_POOLS_MAX, kind=kind, holder=holder)
                )
                await self.ledger.settle(due)
            if found.due or found.written:
                await self.reads.look_again(max(found.head, self.ledger.writer.head))
            return found.due or found.written
        except (Refusal, LedgerUnavailable) as error:
            log.warning("what is due for a read could not be written: %s", error)
            self.reads.stale = True
            return False

    async def _load_documents(self, ids: Sequence[DocumentId]) -> list[dict[str, Any] | None]:
        found = await self.reads.ask_log(load_documents, ids)
        return [found.get(document) for document in ids]

    async def _load_lots(self, lots: Sequence[LotId]) -> list[LotRow | None]:
        found = await self.reads.ask(lambda snapshot: lots_by_id(snapshot, lots))
        return [found.get(lot) for lot in lots]

    async def _load_names(self, grants: Sequence[StreamId]) -> list[str]:
        found = await self.reads.ask_log(names_of_grants, grants)
        return [found[grant] for grant in grants]

    async def _load_usable(self, wanted: Sequence[tuple[PoolKey, int]]) -> list[tuple[Usable, Instant] | None]:
        def question(snapshot: Snapshot) -> list[tuple[Usable, Instant] | None]:
            found = usable_of_pools(snapshot, list({pool for pool, _ in wanted}))
            return [
                (found[pool], snapshot.now) if pool in found and position <= snapshot.position else None
                for pool, position in wanted
            ]

        await self.reads.look_again(max(position for _, position in wanted))
        return await self.ask(question)


Info = strawberry.Info[RequestContext, None]
