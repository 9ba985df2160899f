"""A position means one event within an epoch; what a reader of a former one has in common with the log is known."""

from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.application import BlockingLedger
from ledger.domain.refusals import InvalidArgument
from ledger.store.database import Database, Role
from ledger.store.epochs import Epoch, Identity, begin_epoch, identity

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@given(lives=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=7), data=st.data())
def test_what_a_reader_has_in_common_with_the_log_is_what_both_have_from_the_beginning_on(
    lives: list[tuple[float, int]], data: st.DataObject
) -> None:
    """By a log that is cut off and goes on otherwise, again and again, each of its events unlike any other."""
    log: list[tuple[str, int]] = []
    epochs: list[Epoch] = []
    seen: dict[str, list[tuple[str, int]]] = {}
    for number, (share, appended) in enumerate(lives):
        began_after = round(share * len(log))
        epochs.append(Epoch(f"epoch-{number}", began_after, None, None, None))
        log = log[:began_after] + [(epochs[-1].epoch, place) for place in range(appended)]
        seen[epochs[-1].epoch] = log
    known = Identity("ledger", tuple(epochs))
    assert [known.epoch_of(position) for position in range(1, len(log) + 1)] == [epoch for epoch, _ in log]
    epoch = data.draw(st.sampled_from(epochs)).epoch
    position = data.draw(st.integers(0, len(seen[epoch])))
    pairs = zip(seen[epoch][:position], log, strict=False)
    assert known.last_common(epoch, position) == len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    assert known.last_common("epoch of another ledger", position) == 0


def test_an_epoch_begins_after_a_position_of_the_log_or_at_its_head(database: Database, books: BlockingLedger) -> None:
    def read() -> Identity:
        with database.connect(Role.READER) as connection:
            return identity(connection)

    first = read()
    assert [(each.began_after, each.began_at, each.reason) for each in first.epochs] == [(0, None, None)]
    for amount in (1, 2, 3):
        books.issue_grant(holder="acme", currency="credits", amount=amount, display_name="g", grant_type="PAID")
    told: dict[str, Any] = {"by": "ops", "reason": "restored"}
    begun = [begin_epoch(database, NOW, after=after, **told) for after in (None, 2, 0)]
    assert [each[1:] for each in begun] == [(after, NOW, "ops", "restored") for after in (3, 2, 0)]
    assert read() == Identity(first.ledger_id, (*first.epochs, *begun))
    assert len({each.epoch for each in read().epochs}) == 4
    for beyond in (4, -1):
        with pytest.raises(InvalidArgument, match="must be a position of the log"):
            begin_epoch(database, NOW, after=beyond, **told)
    assert read().present == begun[-1].epoch
    with database.connect(Role.WRITER) as connection:
        assert connection.execute("SELECT epoch FROM log_meta").fetchone() == {"epoch": begun[-1].epoch}
