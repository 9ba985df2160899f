"""The laws of the ledger hold for random histories of one pool, at every position."""

from hypothesis import given

from ledger.domain.events import Debited, Expired, Granted, GrantScheduleDefined, Movement, Refunded, Voided
from ledger.domain.pool import Pool
from ledger.domain.values import StreamId
from tests.domain.scenario import Book, fields_of, state_of
from tests.laws.moves import books
from tests.laws.naive_books import NaiveBooks


@given(books())
def test_every_lot_holds_what_was_granted_less_what_left_it_at_every_position(book: Book) -> None:
    """Law 1: granted - debited + refunded - voided - expired = booked >= 0."""
    effects: dict[str, dict[type[Movement], int]] = {}
    for event in book.log:
        if not isinstance(event, Movement):
            continue
        sums = effects.setdefault(event.lot, dict.fromkeys((Granted, Debited, Refunded, Voided, Expired), 0))
        sums[type(event)] += abs(event.amount)
        booked = sums[Granted] - sums[Debited] + sums[Refunded] - sums[Voided] - sums[Expired]
        assert event.amount * event.SIGN > 0
        assert booked == event.after.balance >= 0
        assert sums[Debited] - sums[Refunded] == event.after.used >= 0
        assert sums[Granted] == event.after.granted
        whole = (
            each[Granted] - each[Debited] + each[Refunded] - each[Voided] - each[Expired] for each in effects.values()
        )
        assert sum(whole) == event.after.pool_balance
    assert book.pool.balance == sum(lot.balance for lot in book.pool.lots)


@given(books())
def test_debits_and_refunds_are_what_a_second_reading_of_the_rules_says(book: Book) -> None:
    """Laws 2, 4, 5 and 6: burn-down order, LIFO refunds, one lapse at the end, restored credits ended again."""
    naive = NaiveBooks().read(book.log)
    assert {lot.name: lot.booked for lot in naive.lots.values() if lot.booked} == {
        lot.lot_id: lot.balance for lot in book.pool.lots
    }


@given(books())
def test_folding_a_log_again_from_empty_gives_the_identical_state(book: Book) -> None:
    """Law 9, in the domain."""
    again = Pool(book.pool.key)
    for event in book.log:
        again.evolve(event)
    assert state_of(again) == state_of(book.pool)


@given(books())
def test_the_events_a_decision_builds_are_the_ones_validation_builds(book: Book) -> None:
    for event in book.log:
        validated = type(event).model_validate(fields_of(event))
        assert validated == event
        assert validated.model_dump() == event.model_dump()
        assert [type(value) for value in fields_of(validated).values()] == [
            type(value) for value in fields_of(event).values()
        ]


@given(books())
def test_streams_are_gapless_and_time_never_goes_back(book: Book) -> None:
    """Law 8, in the domain: position alone orders, recorded_at never decreases."""
    versions: dict[str, int] = {}
    for event in book.log:
        assert event.originator_version == versions.get(event.originator_id, 0) + 1
        versions[event.originator_id] = event.originator_version
    ended = {
        event.originator_id for event in book.log if isinstance(event, GrantScheduleDefined) and event.plan.ended_at
    }
    assert book.pool.schedules.keys().isdisjoint(ended)
    assert {stream: book.pool.version(StreamId(stream)) for stream in versions} == {
        stream: 0 if stream in ended else version for stream, version in versions.items()
    }
    instants = [event.transaction.recorded_at for event in book.log]
    assert instants == sorted(instants)


@given(books())
def test_letting_go_of_closed_lots_changes_nothing_that_is_open(book: Book) -> None:
    before = [(lot.lot_id, lot.balance) for lot in book.pool.lots]
    balance, due = book.pool.balance, book.pool.renewals_due(book.now)
    book.pool.forget_closed()
    assert [(lot.lot_id, lot.balance) for lot in book.pool.lots] == before
    assert (book.pool.balance, book.pool.renewals_due(book.now)) == (balance, due)
