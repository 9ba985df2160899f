"""What one GraphQL request carries: who asks, its reads, its writes, and look-ups that are made once for many rows."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import strawberry
from strawberry.dataloader import DataLoader

from ledger.application import Command, CreditLedger, LedgerUnavailable, Receipt
from ledger.domain.instants import Instant
from ledger.domain.refusals import InvalidArgument, Refusal
from ledger.domain.values import DocumentId, Kind, LotId, PoolKey, StreamId, TransactionId
from ledger.store.documents import load_documents
from projections.execution_credits.queries import (
    CreditVersion,
    ExecutionCreditRow,
    TransactionRow,
    documents_of_debits,
    execution_credits_as_of,
    execution_credits_by_id,
    transactions_of,
)
from projections.lots.queries import LotRow, Usable, lots_by_id, names_of_grants, usable_of_pools
from projections.paging import NumberedPage
from projections.reading import Snapshot
from service.access import Caller, Right
from service.rate_limit import RateLimit
from service.reads import Reads
from service.settling import ask_settled

Answer = TypeVar("Answer")
EVENTS_PASSED_MAX = 1_000_000
"""How many events one request may have looked at for pages of transactions: a late page is counted from the newest."""
TRANSACTIONS_MAX = 10_000
"""How many transactions of execution credits one request may ask for; a credit that has more shows them by pages."""


class TransactionsWanted(NamedTuple):
    """Some of a credit's transactions, up to a version of it."""

    as_of: CreditVersion
    page: NumberedPage


@dataclass
class RequestContext:
    """`wrote` is the last position that this request's commands were answered with; 0: none was."""

    caller: Caller
    ledger: CreditLedger
    reads: Reads
    request_id: str
    execution_rate: RateLimit
    operation_name: str | None = None
    wrote: int = 0
    refused: set[str] = field(default_factory=set)
    """Codes of the refusals of its commands, also of those that an answer's data tells."""
    points: int = 0
    """How many points of usage this request has asked for."""
    transactions_loaded: int = 0
    """How many transactions of execution credits this request has asked for."""
    transactions_passed: int = 0
    """How many events had to be looked at for them, page by page."""
    transaction_fields: int = 0
    """How many fields of them it is shown."""
    fields_of_lists: dict[tuple[str, ...], int] = field(default_factory=dict)
    """How many fields each item has, by where the list stands in the answer."""
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)
    documents: "DataLoader[DocumentId, dict[str, Any] | None]" = field(init=False)
    lots: "DataLoader[LotId, LotRow | None]" = field(init=False)
    names: "DataLoader[StreamId, str]" = field(init=False)
    usable: "DataLoader[tuple[PoolKey, int], tuple[Usable, Instant] | None]" = field(init=False)
    """What is usable in a pool once a position is reached."""
    execution_credits: "DataLoader[str, ExecutionCreditRow | None]" = field(init=False)
    execution_credits_as_of: "DataLoader[CreditVersion, ExecutionCreditRow]" = field(init=False)
    transactions: "DataLoader[TransactionsWanted, list[TransactionRow]]" = field(init=False)
    debit_documents: "DataLoader[TransactionId, DocumentId | None]" = field(init=False)

    def __post_init__(self) -> None:
        self.documents = DataLoader(self._load_documents)
        self.lots = DataLoader(self._load_lots)
        self.names = DataLoader(self._load_names)
        self.usable = DataLoader(self._load_usable)
        self.execution_credits = DataLoader(self._load_execution_credits)
        self.execution_credits_as_of = DataLoader(self._load_execution_credits_as_of)
        self.transactions = DataLoader(self._load_transactions)
        self.debit_documents = DataLoader(self._load_debit_documents)

    async def carry_out(self, build: Callable[[], Command]) -> Receipt:
        """Carry out a command in the caller's name. Refuses: IdentityForbidden, and as the command does."""
        self.caller.require(Right.WRITE)
        try:
            receipt = await self.ledger.execute(self._own(build))
        except (Refusal, LedgerUnavailable) as refusal:
            self.refused.add(refusal.code)
            raise
        self.wrote = max(self.wrote, receipt.position)
        await self.reads.look_again(self.wrote)  # a snapshot of before would not have it
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
        await self.reads.look_again(self.wrote)
        self.refused |= {outcome.code for outcome in outcomes.values() if not isinstance(outcome, Receipt)}
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

        With a `holder`, the answer shows all that is due for him at its instant, job or no job (`ask_settled`).
        """
        self.caller.require(Right.READ)
        if holder is None:
            return await self.reads.ask(question, at_least=at_least)
        self.caller.require_holder(holder)
        return await ask_settled(
            self.ledger, self.reads, question, kind=Kind.CREDIT_GRANT, holder=holder, at_least=at_least
        )

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

    async def _load_execution_credits(self, credits: Sequence[str]) -> list[ExecutionCreditRow | None]:
        found = await self.ask(lambda snapshot: execution_credits_by_id(snapshot, credits))
        return [found.get(StreamId(credit)) for credit in credits]

    async def _load_execution_credits_as_of(self, versions: Sequence[CreditVersion]) -> list[ExecutionCreditRow]:
        found = await self.reads.ask_log(execution_credits_as_of, versions)
        return [found[version] for version in versions]

    async def _load_transactions(self, wanted: Sequence[TransactionsWanted]) -> list[list[TransactionRow]]:
        found: dict[TransactionsWanted, list[TransactionRow]] = {}
        for page in {each.page for each in wanted}:
            versions = [each.as_of for each in wanted if each.page == page]
            self.transactions_passed += sum(min(page.offset + page.limit, each.version) for each in versions)
            if self.transactions_passed > EVENTS_PASSED_MAX:
                raise InvalidArgument("transactions", "must be fewer, or on earlier pages, in one request")
            rows_max = TRANSACTIONS_MAX + 1 - self.transactions_loaded
            rows = await self.reads.ask_log(partial(transactions_of, page=page, rows_max=rows_max), versions)
            self.transactions_loaded += sum(map(len, rows.values()))
            if self.transactions_loaded > TRANSACTIONS_MAX:
                reason = f"must be at most {TRANSACTIONS_MAX} in one request: ask for them by page and limit"
                raise InvalidArgument("transactions", reason)
            found |= {TransactionsWanted(version, page): rows[version] for version in versions}
        return [found[each] for each in wanted]

    async def _load_debit_documents(self, debits: Sequence[TransactionId]) -> list[DocumentId | None]:
        found = await self.reads.ask_log(documents_of_debits, debits)
        return [found.get(debit) for debit in debits]


Info = strawberry.Info[RequestContext, None]
