"""The face of the ledger: one method per command, for asyncio and for threads that wait."""

import asyncio
import concurrent.futures
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import EventStore, InterfaceError, OperationalError
from eventsourcing.utils import Environment, EnvType
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application.commands import Command, ConsumeCredits, RefundDebit, SettleDue
from ledger.application.execution_credit_commands import (
    DeleteExecutionCredit,
    OpenExecutionCredit,
    UpdateExecutionCredit,
)
from ledger.application.grant_commands import IssueGrant, UpdateGrant, VoidGrant
from ledger.application.limits import WriterLimits
from ledger.application.payment_commands import MarkInvoicePaid, RecordGrantPayment
from ledger.application.receipts import LedgerUnavailable, Outcome, Receipt
from ledger.application.recharge_commands import RechargePool, SaveAutoRecharge
from ledger.application.replies import Submission
from ledger.application.rule_commands import (
    ChangeAllocationRule,
    DefineAllocationRule,
    RecordThreshold,
    RemoveAllocationRule,
)
from ledger.application.schedule_commands import CreateGrantSchedule, EndGrantSchedule
from ledger.application.watching import BatchWatcher
from ledger.application.writer import Writer
from ledger.domain.credit_grant import CreditGrant
from ledger.domain.credit_grant import evolve as evolve_grant
from ledger.domain.instants import Instant
from ledger.domain.refusals import CreditGrantNotFound, InvalidArgument
from ledger.domain.values import UUID, Kind, PoolKey, StreamId
from ledger.store.clock import Clock, database_clock
from ledger.store.database import Database
from ledger.store.factory import LedgerFactory
from ledger.store.side_tables import Unsettled, due_pools, unsettled


class CreditLedger(Application[str]):
    """A ledger on a migrated database. `start` it, or use it as a context manager; every method is one command.

    Methods take the fields of their command by name and answer a Receipt, or raise: InvalidArgument and the other
    refusals (nothing was written), QueueFull, LedgerUnavailable. They may be awaited from any event loop.
    """

    name = "ledger"

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock | None = None,
        limits: WriterLimits | None = None,
        watcher: BatchWatcher | None = None,
    ) -> None:
        self.database = database
        super().__init__()
        assert isinstance(self.factory, LedgerFactory)
        self._datastore = self.factory.datastore
        self.clock = clock or database_clock()
        self.writer = Writer(database, self._datastore, self.events, self.clock, limits, watcher)

    def construct_env(self, name: str, env: EnvType | None = None) -> Environment:
        """Nothing is read from os.environ."""
        return Environment(name, {})

    def construct_factory(self, env: Environment) -> Any:
        return LedgerFactory(self.database)

    def construct_mapper(self) -> Any:
        return self.factory.mapper()

    def construct_event_store(self) -> EventStore[str]:
        return self.factory.event_store(mapper=self.mapper, recorder=self.recorder)

    def start(self) -> Self:
        self.writer.start()
        return self

    def close(self) -> None:
        """Answer everything that was accepted, then let go of the database."""
        if hasattr(self, "writer"):
            self.writer.stop()
        super().close()

    def __enter__(self) -> Self:
        super().__enter__()
        return self.start()

    def save(self, *objs: Any, **kwargs: Any) -> Any:
        """Refused: what does not come through a command would leave open lots, keys and claims behind."""
        raise NotImplementedError("the log is written by commands alone")

    async def consume(self, **fields: Any) -> Receipt:
        """Use credits of one pool, all or nothing. Fields: ConsumeCredits."""
        return await self.execute(ConsumeCredits(**fields))

    async def consume_many(self, commands: Sequence[ConsumeCredits]) -> list[Outcome]:
        """Use credits many times: an outcome for each command, in their order; a refused one does not fail the rest."""
        return await self.execute_many(commands)

    async def refund(self, **fields: Any) -> Receipt:
        """Give back a debit or a part of it. Fields: RefundDebit."""
        return await self.execute(RefundDebit(**fields))

    async def issue_grant(self, **fields: Any) -> Receipt:
        """Issue a credit grant. Fields: IssueGrant."""
        return await self.execute(IssueGrant(**fields))

    async def update_grant(self, **fields: Any) -> Receipt:
        """Give a grant other terms or texts. Fields: UpdateGrant."""
        return await self.execute(UpdateGrant(**fields))

    async def record_grant_payment(self, **fields: Any) -> Receipt:
        """Record how far a grant's payment has come. Fields: RecordGrantPayment."""
        return await self.execute(RecordGrantPayment(**fields))

    async def mark_invoice_paid(self, **fields: Any) -> Receipt:
        """Record a grant's latest invoice as paid. Fields: MarkInvoicePaid."""
        return await self.execute(MarkInvoicePaid(**fields))

    async def void_grant(self, **fields: Any) -> Receipt:
        """End what is left of a grant. Fields: VoidGrant."""
        return await self.execute(VoidGrant(**fields))

    async def create_grant_schedule(self, **fields: Any) -> Receipt:
        """Grant credits at calendar steps from now on. Fields: CreateGrantSchedule."""
        return await self.execute(CreateGrantSchedule(**fields))

    async def end_grant_schedule(self, **fields: Any) -> Receipt:
        """Stop a schedule's future grants. Fields: EndGrantSchedule."""
        return await self.execute(EndGrantSchedule(**fields))

    async def save_auto_recharge(self, **fields: Any) -> Receipt:
        """Save the settings of a customer's automatic recharge. Fields: SaveAutoRecharge."""
        return await self.execute(SaveAutoRecharge(**fields))

    async def recharge(self, pools: Iterable[PoolKey]) -> list[Outcome]:
        """Recharge each of these pools whose balance is below its threshold; an outcome for each, in their order."""
        return await self.execute_many([RechargePool(holder=pool.holder, currency=pool.currency) for pool in pools])

    async def open_execution_credit(self, **fields: Any) -> Receipt:
        """Create an execution credit. Fields: OpenExecutionCredit."""
        return await self.execute(OpenExecutionCredit(**fields))

    async def update_execution_credit(self, **fields: Any) -> Receipt:
        """Change an execution credit's allotment or rollup type. Fields: UpdateExecutionCredit."""
        return await self.execute(UpdateExecutionCredit(**fields))

    async def delete_execution_credit(self, **fields: Any) -> Receipt:
        """Take an execution credit out of use. Fields: DeleteExecutionCredit."""
        return await self.execute(DeleteExecutionCredit(**fields))

    async def define_allocation_rule(self, **fields: Any) -> Receipt:
        """Make an allocation rule. Fields: DefineAllocationRule."""
        return await self.execute(DefineAllocationRule(**fields))

    async def change_allocation_rule(self, **fields: Any) -> Receipt:
        """Change an allocation rule. Fields: ChangeAllocationRule."""
        return await self.execute(ChangeAllocationRule(**fields))

    async def remove_allocation_rule(self, **fields: Any) -> Receipt:
        """Remove an allocation rule. Fields: RemoveAllocationRule."""
        return await self.execute(RemoveAllocationRule(**fields))

    async def record_thresholds(self, reached: Sequence[RecordThreshold]) -> list[Outcome]:
        """Record thresholds that were reached, each once; an outcome for each, in their order."""
        return await self.execute_many(reached)

    async def settle_due(self, pools_max: int = 1000) -> int:
        """Write what has fallen due by now, on up to `pools_max` pools; returns how many there were."""
        return await self.settle(await asyncio.to_thread(self.due_pools, pools_max))

    async def settle(self, pools: Iterable[PoolKey]) -> int:
        """Write what has fallen due on these pools; returns on how many there was something."""
        return settled(await self.execute_many([SettleDue(due_pool=pool) for pool in pools]))

    async def execute(self, command: Command) -> Receipt:
        """Carry out one command; raises what it was turned down with."""
        return accepted((await self.execute_many([command]))[0])

    async def execute_many(self, commands: Iterable[Command]) -> list[Outcome]:
        """Carry out commands in their order, each with its own outcome; answered when all are on disk."""
        commands = tuple(commands)
        if not commands:
            return []
        reply: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self.writer.submit(Submission(commands, reply))
        return await reply

    def execute_many_blocking(self, commands: Iterable[Command]) -> list[Outcome]:
        """`execute_many` for a thread that waits."""
        commands = tuple(commands)
        if not commands:
            return []
        reply: concurrent.futures.Future[list[Outcome]] = concurrent.futures.Future()
        self.writer.submit(Submission(commands, reply))
        return reply.result()

    def due_pools(self, pools_max: int, *, kind: Kind | None = None, holder: str | None = None) -> list[PoolKey]:
        """The pools on which something has fallen due, the longest overdue first; of one holder, if named."""
        if pools_max <= 0:
            raise InvalidArgument("pools_max", "must be above zero")
        with self.connection() as connection:
            return due_pools(connection, self.clock.now(connection), pools_max, kind=kind, holder=holder)

    def unsettled(self, kind: Kind, holder: str, *, now: Instant, position: int) -> Unsettled:
        """What of a holder's dues a read at this instant and position may have missed."""
        with self.connection() as connection:
            return unsettled(connection, kind, holder, now=now, position=position)

    @contextmanager
    def connection(self) -> Iterator[Connection[DictRow]]:
        """A connection of the writer's role, for questions about what commands will meet. Raises LedgerUnavailable."""
        try:
            with self._datastore.get_connection() as connection:
                yield connection
        except (InterfaceError, OperationalError) as error:
            raise LedgerUnavailable(f"the database is not available: {error}") from error

    def grant(self, stream_id: StreamId) -> CreditGrant:
        """A grant's aggregate, folded from its own events. Refuses: CreditGrantNotFound."""
        if not UUID.fullmatch(stream_id):
            raise CreditGrantNotFound(stream_id)
        try:
            found: CreditGrant = self.repository.get(stream_id, projector_func=_project_grant)
        except AggregateNotFoundError:
            raise CreditGrantNotFound(stream_id) from None
        return found


class BlockingLedger:
    """The same ledger for threads that wait for their answers."""

    def __init__(self, ledger: CreditLedger) -> None:
        self.ledger = ledger

    def consume(self, **fields: Any) -> Receipt:
        return self.execute(ConsumeCredits(**fields))

    def consume_many(self, commands: Sequence[ConsumeCredits]) -> list[Outcome]:
        return self.ledger.execute_many_blocking(commands)

    def refund(self, **fields: Any) -> Receipt:
        return self.execute(RefundDebit(**fields))

    def issue_grant(self, **fields: Any) -> Receipt:
        return self.execute(IssueGrant(**fields))

    def update_grant(self, **fields: Any) -> Receipt:
        return self.execute(UpdateGrant(**fields))

    def record_grant_payment(self, **fields: Any) -> Receipt:
        return self.execute(RecordGrantPayment(**fields))

    def mark_invoice_paid(self, **fields: Any) -> Receipt:
        return self.execute(MarkInvoicePaid(**fields))

    def void_grant(self, **fields: Any) -> Receipt:
        return self.execute(VoidGrant(**fields))

    def create_grant_schedule(self, **fields: Any) -> Receipt:
        return self.execute(CreateGrantSchedule(**fields))

    def end_grant_schedule(self, **fields: Any) -> Receipt:
        return self.execute(EndGrantSchedule(**fields))

    def save_auto_recharge(self, **fields: Any) -> Receipt:
        return self.execute(SaveAutoRecharge(**fields))

    def open_execution_credit(self, **fields: Any) -> Receipt:
        return self.execute(OpenExecutionCredit(**fields))

    def update_execution_credit(self, **fields: Any) -> Receipt:
        return self.execute(UpdateExecutionCredit(**fields))

    def delete_execution_credit(self, **fields: Any) -> Receipt:
        return self.execute(DeleteExecutionCredit(**fields))

    def define_allocation_rule(self, **fields: Any) -> Receipt:
        return self.execute(DefineAllocationRule(**fields))

    def change_allocation_rule(self, **fields: Any) -> Receipt:
        return self.execute(ChangeAllocationRule(**fields))

    def remove_allocation_rule(self, **fields: Any) -> Receipt:
        return self.execute(RemoveAllocationRule(**fields))

    def settle_due(self, pools_max: int = 1000) -> int:
        """Write what has fallen due by now, on up to `pools_max` pools; returns how many there were."""
        pools = self.ledger.due_pools(pools_max)
        return settled(self.ledger.execute_many_blocking([SettleDue(due_pool=pool) for pool in pools]))

    def execute(self, command: Command) -> Receipt:
        return accepted(self.ledger.execute_many_blocking([command])[0])


def accepted(outcome: Outcome) -> Receipt:
    """The receipt, or the refusal raised."""
    if isinstance(outcome, Receipt):
        return outcome
    raise outcome


def settled(outcomes: Iterable[Outcome]) -> int:
    """How many pools had something due that is written now; raises the first failure."""
    return sum(bool(accepted(outcome).events) for outcome in outcomes)


def _project_grant(grant: Any, events: Any) -> Any:
    for event in events:
        grant = evolve_grant(grant, event)
    return grant
