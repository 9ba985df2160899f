"""Ids of streams, lots and transactions, as they are made by the batch."""

from datetime import UTC, datetime, timedelta

from ledger.application.ids import TimeOrderedIds
from ledger.domain.values import UUID

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_ids_are_uuids_of_version_7_that_sort_in_the_order_they_were_made_in() -> None:
    ids = TimeOrderedIds()
    made = []
    for milliseconds in range(300):  # each batch counts on from a number drawn by chance
        ids.begin(NOON + timedelta(milliseconds=milliseconds))
        made += [ids(), ids(), ids()]
    assert all(UUID.fullmatch(each) and each[14] == "7" and each[19] in "89ab" for each in made)
    assert made == sorted(made)
    assert len(set(made)) == len(made)
