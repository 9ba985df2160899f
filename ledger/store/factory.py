"""The library's factory, made from our own parts; it reads no environment."""

from collections.abc import Iterable
from typing import Any

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import ApplicationRecorder, EventStore, Mapper, Recording, Transcoder
from eventsourcing.postgres import PostgresFactory
from eventsourcing.utils import Environment

from ledger.store.database import Database
from ledger.store.datastore import LedgerDatastore
from ledger.store.mapper import LedgerMapper
from ledger.store.recorder import LogRecorder


class LedgerEventStore(EventStore[str]):
    """The library's event store, for events that may still be in the making.

    It renders each event when the recorder takes it, and builds no Recording of it, which nobody here reads.
    """

    def put(self, domain_events: Iterable[DomainEventProtocol[str]], **kwargs: Any) -> list[Recording[str]]:
        lines: Any = map(self.mapper.to_stored_event, domain_events)
        self.recorder.insert_events(lines, **kwargs)
        return []


class LedgerFactory(PostgresFactory):
    """Datastore, mapper, recorder and event store of one ledger."""

    datastore: LedgerDatastore

    def __init__(self, database: Database) -> None:
        # Not super().__init__: it reads a host, a user and a password from an environment.
        self.env = Environment("ledger", {})
        self._is_entered = False
        self.datastore = LedgerDatastore(database)

    def mapper(
        self, transcoder: Transcoder | None = None, mapper_class: type[Mapper[Any]] | None = None
    ) -> Mapper[Any]:
        return LedgerMapper()

    def application_recorder(self) -> ApplicationRecorder:
        return LogRecorder(self.datastore)

    def event_store(self, mapper: Any = None, recorder: Any = None) -> EventStore[Any]:
        return LedgerEventStore(mapper=mapper or self.mapper(), recorder=recorder or self.application_recorder())
