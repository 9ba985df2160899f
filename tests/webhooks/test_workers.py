"""Webhooks by real processes: whoever is killed, nothing is lost or changes its order, and a rebuild sends nothing."""

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ledger.store.database import Database
from tests.service.load import eventually
from tests.service.serving import Service, command, serving
from tests.webhooks.receiving import SECONDS_MAX, Answer, Receiver
from tests.webhooks.sending import Sending, ledger_of, told

HOLDERS = ("acme", "bond", "coyote", "dent")
TIMES = 150


def settings_of(database: Database) -> dict[str, Any]:
    return {
        "database_url": database.dsn,
        "schema": database.schema,
        "webhook_private_targets": "1",
        "webhook_retry_seconds": "1",
    }


TOLD_OF_WEBHOOKS = ("attempts_total", "messages_", "holders_")


@pytest.fixture(scope="module")
def service(schema: Database) -> Iterator[Service]:
    """It delivers, and gives up after a second."""
    with serving(**settings_of(schema)) as service:
        yield service


@pytest.fixture
def sending(service: Service, schema: Database) -> Iterator[Sending]:
    assert service.http.get("/livez").status_code == 200
    with ledger_of(schema) as sending:
        yield sending


def in_order_but_for_a_repeated_tail(got: Sequence[int], sent: Sequence[int]) -> bool:
    """Whether all came in order, but that from one moment on the last ones before it came again."""
    breaks = [place for place in range(1, len(got)) if got[place] <= got[place - 1]]
    cut = breaks[0] if breaks else len(got)
    return len(breaks) <= 1 and list(got[:cut]) == list(sent[:cut]) and list(got[cut:]) == list(sent[-len(got[cut:]) :])


def test_when_the_one_who_delivers_is_killed_another_goes_on_and_nothing_is_lost(database: Database) -> None:
    with ledger_of(database) as sending, Receiver() as receiver:
        for holder in HOLDERS:
            sending.grants(holder)
        endpoint, _ = sending.calls(receiver)
        with serving(**settings_of(database)) as killed, serving(**settings_of(database)) as other:
            positions = sending.uses(*HOLDERS)
            receiver.has(len(HOLDERS))
            assert "delivering webhooks" in killed.log()
            positions += sending.uses(*HOLDERS, times=TIMES)
            before = [each.position for each in receiver.has(len(HOLDERS) * TIMES // 4)]
            assert len(before) == len(set(before))
            assert "delivering webhooks" not in other.log()
            assert killed.end(signal.SIGKILL) == -signal.SIGKILL
            positions += sending.uses(*HOLDERS)
            receiver.until(lambda got: {each.position for each in got} >= set(positions))
            assert "delivering webhooks" in other.log()
            assert sending.nothing_waits(endpoint)
        for number, holder in enumerate(HOLDERS):
            assert in_order_but_for_a_repeated_tail(receiver.positions(holder), positions[number :: len(HOLDERS)])
        by_position = {(each.position, each.headers["webhook-id"]) for each in receiver.got}
        assert len(by_position) == len(positions)


def test_a_worker_parks_what_is_not_taken_in_the_time_that_is_set_and_an_operator_sends_it_again(
    sending: Sending,
) -> None:
    with Receiver() as receiver:
        receiver.answer = lambda _: Answer(500)
        sending.grants("patient")
        made = told(sending.database, "create", "--url", receiver.url, "--holder", "patient", "--description", "a test")
        positions = sending.uses("patient", times=2)
        assert eventually(lambda: len(told(sending.database, "parked", made["id"])) == 2, SECONDS_MAX)
        tried = receiver.got
        assert [each.position for each in tried] == [positions[0], positions[0], positions[1]]
        assert 1.0 <= tried[1].at - tried[0].at < 5.0
        receiver.answer = lambda _: Answer()
        assert told(sending.database, "replay", made["id"], "--parked")["replayed"] == 2
        receiver.has(5)
        assert receiver.positions()[3:] == positions
        assert sending.nothing_waits(made["id"])


def test_metrics_tell_what_came_of_attempts_and_what_was_given_up(service: Service, sending: Sending) -> None:
    def scraped() -> dict[str, float]:
        lines = service.http.get("/metrics").text.replace("credit_ledger_webhook_", "").splitlines()
        return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(TOLD_OF_WEBHOOKS)}

    before = scraped()
    with Receiver() as receiver:
        receiver.answer = lambda got: Answer(500 if got.position == refused else 200)
        refused = sending.grants("told")
        endpoint, _ = sending.calls(receiver, "told")
        refused, *_ = sending.uses("told", times=2)
        happened = {
            "messages_parked": 1,
            'attempts_total{outcome="failed"}': 2,
            'attempts_total{outcome="delivered"}': 1,
        }
        expected = before | {name: before[name] + count for name, count in happened.items()}
        assert eventually(lambda: scraped() == expected, SECONDS_MAX), (expected, scraped())
        assert told(sending.database, "delete", endpoint)["id"] == endpoint
        assert scraped()["messages_parked"] == before["messages_parked"]


def test_a_rebuild_sends_nothing(sending: Sending) -> None:
    with Receiver() as receiver:
        sending.grants("rebuilt")
        sending.calls(receiver)
        positions = sending.uses("rebuilt", times=20)
        receiver.has(20)
        done = command("projections", "rebuild", "--all", **settings_of(sending.database))
        assert done.returncode == 0, done.stderr
        positions += sending.uses("rebuilt")
        receiver.has(21)
        assert receiver.positions() == positions
