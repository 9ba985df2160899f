"""What an operator changes while messages are on their way stays, and what was taken meanwhile is noted once."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest
from psycopg import Connection
from psycopg.rows import DictRow

from ledger.store.database import Database, Role
from service.feed.messages import EVERYTHING
from service.webhooks import courier, deliverer
from service.webhooks.book import Notes, query
from service.webhooks.deliverer import Deliverer
from service.webhooks.desk import Desk
from service.webhooks.endpoints import create_endpoint, disable_endpoint, parked_messages, replay_parked, rotate_secret
from service.webhooks.schedule import Schedule
from tests.service.load import eventually
from tests.webhooks.receiving import SECONDS_MAX, Answer, Received, Receiver
from tests.webhooks.sending import Sending, delivering, ledger_of

TAKEN, REFUSED, GONE = Answer(), Answer(500), Answer(410)
PATIENCE_SECONDS = 0.4
AT_ONCE = 5.0
"""Far sooner than anything that hangs would go on by itself."""


@pytest.fixture(scope="module")
def sending(schema: Database) -> Iterator[Sending]:
    with ledger_of(schema) as sending:
        yield sending


@pytest.fixture
def holder(sending: Sending) -> str:
    holder = f"holder-{secrets.token_hex(6)}"
    sending.grants(holder)
    return holder


class Held:
    """Lets nobody pass until `go`; `arrived` tells that somebody would."""

    def __init__(self) -> None:
        self.arrived, self._go = Event(), Event()

    def go(self) -> None:
        self._go.set()

    def then(self, answer: Answer) -> Callable[[Received], Answer]:
        def answered(_: Received) -> Answer:
            self.waits()
            return answer

        return answered

    def waits(self) -> None:
        self.arrived.set()
        assert self._go.wait(SECONDS_MAX)


@contextmanager
def changing(database: Database, endpoint: str) -> Iterator[Connection[DictRow]]:
    """An operator's change that takes its time."""
    with database.connect(Role.WRITER) as connection, connection.transaction():
        connection.execute(query("change"), {"id": endpoint})
        yield connection


def somebody_waits_for(database: Database, connection: Connection[DictRow]) -> bool:
    """Whether another session comes to wait for what this one has locked."""
    waiting = "SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    with database.connect(Role.OWNER) as looking:
        pid = [connection.info.backend_pid]
        return eventually(lambda: looking.execute(waiting, pid).fetchone() is not None, AT_ONCE)


@contextmanager
def stopping(deliverer: Deliverer) -> Iterator[Thread]:
    """It is being stopped meanwhile; at the end it has."""
    thread = Thread(target=lambda: asyncio.run(deliverer.stop()))
    thread.start()
    yield thread
    thread.join(SECONDS_MAX)
    assert not deliverer.alive


def test_what_was_taken_is_noted_also_if_all_ends_while_the_notes_wait_for_their_turn(
    sending: Sending, holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait because an operator, who takes his time, keeps what is to be written of another endpoint waiting."""
    monkeypatch.setattr(deliverer, "LOOK_EVERY_SECONDS", SECONDS_MAX)
    noted: list[str] = []
    write = Desk.write

    async def writes(desk: Desk, work: Any) -> Any:
        if isinstance(work, partial) and getattr(work.func, "__func__", None) is Notes.write:
            noted.append(work.keywords["endpoint"].id)
        return await write(desk, work)

    monkeypatch.setattr(Desk, "write", writes)
    others = [f"{holder}-{number}" for number in range(5)]
    for other in others:
        sending.grants(other)
    with Receiver() as busy, Receiver() as receiver, ExitStack() as stack:
        kept_waiting, _ = sending.calls(busy, holder)
        endpoint, _ = sending.calls(receiver, *others)
        held = Held()
        receiver.answer = held.then(TAKEN)
        positions = sending.uses(*others)
        working = stack.enter_context(delivering(sending.database))
        assert eventually(lambda: sending.standing(endpoint).waiting == len(others), SECONDS_MAX)
        with ExitStack() as ending, changing(sending.database, kept_waiting) as operator:
            sending.uses(holder)
            assert somebody_waits_for(sending.database, operator)
            held.go()
            assert eventually(lambda: working.tally.delivered == len(others) and endpoint in noted, AT_ONCE)
            begun = noted.count(endpoint)
            ending.enter_context(stopping(working))
            assert eventually(lambda: noted.count(endpoint) > begun, AT_ONCE)
        assert sorted(receiver.positions()) == sorted(positions)
        assert sending.standing(endpoint).waiting == 0
        assert sorted(attempt.position for attempt in sending.log(endpoint)) == sorted(positions)


def test_what_is_sent_again_has_the_whole_patience_whatever_was_on_its_way_before(
    sending: Sending, holder: str
) -> None:
    """What it was known by before, that the holder is in trouble for long, would have it given up at once."""
    patient = Schedule(retry_seconds=PATIENCE_SECONDS, first_wait_seconds=0.02)
    with Receiver() as receiver, delivering(sending.database, schedule=patient):
        receiver.answer = lambda _: REFUSED
        endpoint, _ = sending.calls(receiver, holder)
        [given_up] = sending.uses(holder)
        assert eventually(lambda: sending.standing(endpoint).parked == 1, SECONDS_MAX)
        held = Held()
        receiver.answer = held.then(REFUSED)
        [behind] = sending.uses(holder)
        assert held.arrived.wait(SECONDS_MAX)
        before = len(receiver.got)
        assert replay_parked(sending.database, endpoint)[1] == 1
        held.go()
        assert eventually(lambda: sending.standing(endpoint).parked == 2, SECONDS_MAX)
        again = receiver.positions()[before:].count(given_up)
        assert again > 1
        parked = parked_messages(sending.database, endpoint, 10)
        assert [(each.position, each.attempts) for each in parked] == [(given_up, again), (behind, 1)]
        disable_endpoint(sending.database, endpoint)


def test_whoever_delivers_notes_nothing_while_an_operator_changes_the_endpoint(sending: Sending, holder: str) -> None:
    """So neither waits for the other, whatever messages the operator touches, and in whatever order."""
    with Receiver() as receiver, delivering(sending.database):
        endpoint, _ = sending.calls(receiver, holder)
        held = Held()
        receiver.answer = held.then(TAKEN)
        positions = sending.uses(holder, times=3)
        assert eventually(lambda: sending.standing(endpoint).waiting == len(positions), SECONDS_MAX)
        assert held.arrived.wait(SECONDS_MAX)
        with changing(sending.database, endpoint) as operator:
            held.go()
            assert somebody_waits_for(sending.database, operator)
            named = {"id": endpoint, "first": positions[0]}
            assert operator.execute(query("forget_messages"), named).rowcount == len(positions)
        receiver.answer = lambda _: TAKEN
        assert sending.nothing_waits(endpoint)


def test_an_endpoint_that_was_changed_is_not_disabled_by_what_it_answered_before(sending: Sending, holder: str) -> None:
    with Receiver() as receiver, delivering(sending.database):
        endpoint, _ = sending.calls(receiver, holder)
        held = Held()
        receiver.answer = held.then(GONE)
        positions = sending.uses(holder)
        assert held.arrived.wait(SECONDS_MAX)
        rotate_secret(sending.database, endpoint, overlap=timedelta(0))
        receiver.answer = lambda _: TAKEN
        held.go()
        assert sending.nothing_waits(endpoint)
        assert sending.standing(endpoint).state == "enabled"
        assert [attempt.status for attempt in sending.log(endpoint)] == [410, 204]
        assert receiver.positions() == positions * 2


def test_a_look_up_that_hangs_keeps_nobody_from_ending(
    sending: Sending, holder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(_host: str, _port: int) -> Sequence[str]:
        return ["1.1.1.1"]

    held, look_up = Held(), socket.getaddrinfo

    def hangs(host: Any, *asked: Any, **given: Any) -> Any:
        if host == "slow.example":
            held.waits()
            raise OSError("nobody knows it")
        return look_up(host, *asked, **given)

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(courier, "GRACE_SECONDS", 0.1)
    made, _ = create_endpoint(sending.database, url="https://slow.example/", wanted=EVERYTHING, resolver=found)
    with delivering(sending.database, private_targets=False) as working:
        sending.uses(holder)
        assert held.arrived.wait(SECONDS_MAX)
        with stopping(working) as thread:
            thread.join(AT_ONCE)
            ended = not working.alive
            held.go()
        assert ended
    disable_endpoint(sending.database, made.id)
