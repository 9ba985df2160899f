"""One batch while it is being decided: commands in order, on cached pools, with nothing written yet."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import DictRow

from ledger.application.commands import NORMALISER_VERSION, Command, RefundDebit, SettleDue
from ledger.application.grant_commands import GrantCommand, UpdateGrant
from ledger.application.ids import TimeOrderedIds
from ledger.application.inputs import Document, differing_fields
from ledger.application.receipts import Outcome, Receipt
from ledger.application.recharge_commands import RechargeCommand
from ledger.application.rule_commands import RecordThreshold, RuleCommand
from ledger.domain.allocation_rule import RuleBook
from ledger.domain.burn_down import RecordedDebit
from ledger.domain.decision import Decision
from ledger.domain.due import settle_due
from ledger.domain.events import Debited, LedgerEvent
from ledger.domain.execution_credit import ExecutionCredit
from ledger.domain.instants import Instant
from ledger.domain.pool import Aggregate, Pool
from ledger.domain.refusals import IdempotencyKeyReused, Refusal
from ledger.domain.values import (
    RULES,
    SYSTEM,
    UUID,
    DocumentId,
    DocumentReference,
    Kind,
    LotId,
    PoolKey,
    StreamId,
    Transaction,
    TransactionId,
    new_tuple,
)
from ledger.store.documents import load_documents
from ledger.store.pools import load_debits, load_lots, load_recharges, load_rules
from ledger.store.side_tables import (
    AUTO_RECHARGE,
    RULE_NAME,
    THRESHOLD,
    AcceptedKey,
    KeyScope,
    SideEffects,
    claimed,
    recharge_claim,
    threshold_claim,
)


class ReplayFrom(NamedTuple):
    """A command that was answered before; the answer is read from the log at this position."""

    position: int


class Batch:
    """Decides commands in order. Everything it needs to know is loaded before; `events` is what there is to write."""

    def __init__(self, pools: dict[PoolKey, Pool], ids: TimeOrderedIds, now: Instant, head: int) -> None:
        self.pools = pools
        self.ids = ids
        self.now = now
        self.head = head
        self.events: list[LedgerEvent] = []
        self.outcomes: list[Outcome | ReplayFrom] = []
        self.refused: list[int] = []
        """The places of the refusals among the outcomes."""
        self.replays = False
        """Whether some answer is still to be read from the log."""
        self.hits = 0
        """How many commands are answered from their key."""
        self.keys_known = False
        """Whether all keys of the batch's commands were looked up before deciding."""
        self.accepted_keys: list[AcceptedKey] = []
        self.documents: dict[str, tuple[str, str, str]] = {}
        """By id: many uses may share one."""
        self.effects = SideEffects()
        self.debits: dict[TransactionId, RecordedDebit] = {}
        self.streams: dict[str, StreamId] = {}
        self.scopes: dict[str, str] = {}
        self.texts: dict[StreamId, dict[str, Any]] = {}
        self.pool_of: dict[str, PoolKey] = {}
        self.touched: set[Pool] = set()
        self._keys: dict[KeyScope, AcceptedKey] = {}

    def know_keys(self, rows: Sequence[DictRow]) -> dict[KeyScope, AcceptedKey]:
        """Take in the keys of this batch's commands that the log has already; returns them."""
        found: dict[KeyScope, AcceptedKey] = {}
        for row in rows:
            scope = (row["holder"], row["key"], row["operation"], Kind(row["kind"]))
            found[scope] = AcceptedKey(
                scope, row["body"], row["normaliser_version"], row["transaction_id"], row["position"]
            )
        self._keys |= found
        return found

    def know_lots(self, connection: Connection[DictRow], commands: Sequence[Command]) -> None:
        """Load what commands on debits and grants need besides the open lots, as it is under the lock."""
        refunds = [command.transaction_id for command in commands if isinstance(command, RefundDebit)]
        refunds = [debit for debit in refunds if debit in self.pool_of]
        if refunds:
            self.debits = load_debits(connection, refunds)
        wanted: dict[LotId, StreamId] = {}
        definitions: dict[StreamId, int] = {}
        for debit in self.debits.values():
            pool = self.pools[debit.pool]
            for draw in debit.draws:
                if not pool.holds(draw.lot_id):
                    wanted[draw.lot_id] = draw.stream_id
                    credit = pool.aggregates.get(draw.stream_id)
                    if isinstance(credit, ExecutionCredit):
                        definitions[draw.stream_id] = credit.definition_version
        for command in commands:
            if isinstance(command, GrantCommand) and command.grant in self.streams:
                stream_id = self.streams[command.grant]
                pool = self.pools[self.pool_of[command.grant]]
                if pool.key.kind is Kind.CREDIT_GRANT and not pool.holds(LotId(stream_id)):
                    wanted[LotId(stream_id)] = stream_id
        loaded: dict[Pool, list[Aggregate]] = {}
        for aggregate in load_lots(connection, [(stream, lot) for lot, stream in wanted.items()], definitions):
            loaded.setdefault(self.pools[next(iter(aggregate.lots.values())).pool], []).append(aggregate)
        for pool, aggregates in loaded.items():
            pool.adopt(aggregates)
            self.touched.add(pool)
        self._know_texts(connection, commands)

    def know_recharges(self, connection: Connection[DictRow], commands: Sequence[Command]) -> None:
        """Load the automatic recharges of the pools that a command is about to recharge, as they are under the lock."""
        keys = {command.pool for command in commands if isinstance(command, RechargeCommand)}
        wanted = {recharge_claim(key): key for key in keys if key is not None and self.pools[key].recharge is None}
        if wanted:
            found = claimed(connection, AUTO_RECHARGE, list(wanted))
            for recharge in load_recharges(connection, list(found.values())):
                self.pools[recharge.pool].recharge = recharge

    def know_rules(self, connection: Connection[DictRow], commands: Sequence[Command]) -> None:
        """Load the allocation rules that commands name, and who has the names they would give, under the lock."""
        about_rules = [command for command in commands if isinstance(command, RuleCommand)]
        if not about_rules:
            return
        book = self.pools[RULES]
        assert isinstance(book, RuleBook)
        named = {rule for command in about_rules for rule in command.rules_named if UUID.fullmatch(rule)}
        book.rules = {rule.stream_id: rule for rule in load_rules(connection, sorted(named))}
        names = {name for command in about_rules for name in command.names_wanted}
        book.names = claimed(connection, RULE_NAME, sorted(names))
        months = {
            threshold_claim(rule, command.month): (rule, command.month)
            for command in about_rules if isinstance(command, RecordThreshold) for rule in command.rules_named
        }  # fmt: skip
        book.reached = {months[claim] for claim in claimed(connection, THRESHOLD, sorted(months))}

    def _know_texts(self, connection: Connection[DictRow], commands: Sequence[Command]) -> None:
        references: dict[StreamId, DocumentId] = {}
        for command in commands:
            if isinstance(command, UpdateGrant) and command.grant in self.streams:
                stream_id = self.streams[command.grant]
                pool = self.pools[self.pool_of[command.grant]]
                texts = pool.lot(LotId(stream_id)).texts if pool.holds(LotId(stream_id)) else None
                if texts is not None:
                    references[stream_id] = texts.document_id
        bodies = load_documents(connection, references.values())
        self.texts = {stream_id: bodies.get(document, {}) for stream_id, document in references.items()}

    def decide_all(
        self, commands: Sequence[Command], events_max: int, events_of_pieces: Iterator[int]
    ) -> Iterator[list[LedgerEvent]]:
        """Decide commands in order, until there are `events_max` events; yields the new ones, so many at a time."""
        events, told = self.events, 0
        events_of_a_piece = next(events_of_pieces)
        for command in commands:
            self.decide(command)
            count = len(events)
            if count - told >= events_of_a_piece or count >= events_max:
                yield events[told:count]
                told = count
                events_of_a_piece = next(events_of_pieces)
            if count >= events_max:
                return
        if told < len(events):
            yield events[told:]

    def decide(self, command: Command) -> None:
        """Decide one command and let its events take effect on the cached pools; a refusal changes nothing."""
        if command.holders is not None and self._names_another_holders(command):
            self.outcomes.append(command.not_found())  # not among the refused, whose keys are looked up for replays
            return
        scope = None
        if command.idempotency_key is not None:
            scope = key_scope(command, self.scopes)
            taken = self._keys.get(scope)
            if taken is not None:
                self.outcomes.append(self._answered(taken, command))
                return
        try:
            self.outcomes.append(self._accept(command, scope))
        except Refusal as refusal:
            self.refused.append(len(self.outcomes))
            self.outcomes.append(refusal)

    def answered(self, taken: dict[KeyScope, AcceptedKey], command: Command) -> Outcome | ReplayFrom | None:
        """The answer to a keyed command, if its key is among those taken."""
        accepted = taken.get(key_scope(command, self.scopes))
        return None if accepted is None else self._answered(accepted, command)

    def _names_another_holders(self, command: Command) -> bool:
        pool = None if command.pool is not None else self.pool_of.get(command.named)
        return pool is not None and pool.holder not in (command.holders or ())

    def _answered(self, taken: AcceptedKey, command: Command) -> Outcome | ReplayFrom:
        """The first answer, or that the body is another."""
        body = command.body()
        if taken.body != body:
            return IdempotencyKeyReused(taken.scope[1], differing_fields(taken.body, body))
        self.hits += 1
        if isinstance(taken.receipt, Receipt):
            return taken.receipt._replace(replayed=True)
        self.replays = True
        return ReplayFrom(taken.position)

    def _accept(self, command: Command, scope: KeyScope | None) -> Receipt:
        pool = self._pool_of(command)
        transaction, document = self._transaction(command)
        decision = Decision(pool, transaction, self.ids)
        due = 0
        if pool.next_due_at <= self.now and not isinstance(command, SettleDue):
            due = self._settle_due(decision, transaction)
        new_debit = command.decide(decision, self)
        events = decision.events
        for event in events:
            pool.evolve(event)
            if type(event) is not Debited or event.after[2] == 0:  # an ordinary debit touches the log alone
                self.effects.follow(event, pool)
        if new_debit is not None:
            self.debits[new_debit.debit_id] = new_debit
        first = self.head + len(self.events) + due + 1
        self.events += events
        own = tuple(events[due:] if due else events)
        transaction_id = transaction.transaction_id
        if not own:
            return Receipt(transaction_id, 0, own)
        receipt = new_tuple(Receipt, (transaction_id, first + len(own) - 1, own, False))
        if document is not None:
            self.documents[document[0]] = document
            if isinstance(command, UpdateGrant):
                self.texts[own[0].originator_id] = json.loads(document[1])
        if scope is not None:
            key = (scope, command.body(), NORMALISER_VERSION, transaction_id, first, receipt)
            accepted = self._keys[scope] = new_tuple(AcceptedKey, key)
            self.accepted_keys.append(accepted)
        return receipt

    def _pool_of(self, command: Command) -> Pool:
        key = command.pool
        if key is None:
            key = self.pool_of.get(command.named)
            if key is None or key.kind is not command.kind:
                raise command.not_found()
        pool = self.pools[key]
        self.touched.add(pool)
        return pool

    def _transaction(self, command: Command) -> tuple[Transaction, tuple[str, str, str] | None]:
        document: Document | None = command.document(self)
        reference = row = None
        if document is not None:
            reference = DocumentReference(document.document_id or DocumentId(self.ids()), document.sha256)
            row = (reference.document_id, document.body, document.sha256)
        facts = (self.ids(), self.now, command.actor, command.correlation_id, command.causation_id, reference)
        return new_tuple(Transaction, facts), row

    def _settle_due(self, decision: Decision, transaction: Transaction) -> int:
        """What is due comes first, as a transaction of its own; returns how many events it took."""
        own = Transaction(TransactionId(self.ids()), self.now, SYSTEM, None, transaction.transaction_id, None)
        decision.begin(own)
        settle_due(decision)
        decision.begin(transaction)
        if not decision.events:
            decision.pool.look_for_due()
        return len(decision.events)


def key_scope(command: Command, scopes: Mapping[str, str]) -> KeyScope:
    """What a command's key is unique in."""
    scope = command.scope
    if command.pool is None:
        scope = scopes.get(scope, scope)
    return (scope, command.idempotency_key or "", command.operation, command.kind)


def keys_wanted(commands: Sequence[Command], scopes: Mapping[str, str]) -> str | None:
    """All idempotency keys of a batch, as the look-up takes them, or None where there is none."""
    wanted = [key_scope(command, scopes) for command in commands if command.idempotency_key is not None]
    return json.dumps(wanted) if wanted else None
