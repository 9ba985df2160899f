"""A grant's id for people follows from its id: nothing is drawn, nothing can be guessed wrong."""

import re
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.grant_details import readable_grant_id
from ledger.domain.values import StreamId

ids = st.uuids().map(str).map(StreamId)


@given(grant_id=ids)
def test_a_readable_id_is_cg_and_sixteen_symbols_that_do_not_look_alike(grant_id: StreamId) -> None:
    readable = readable_grant_id(grant_id)
    assert re.fullmatch("cg-[0-9a-hjkmnp-tv-z]{16}", readable)
    assert readable == readable_grant_id(StreamId(str(grant_id)))


@given(first=ids, second=ids)
def test_two_grants_have_two_readable_ids(first: StreamId, second: StreamId) -> None:
    assert (readable_grant_id(first) == readable_grant_id(second)) == (first == second)


def test_every_symbol_is_used_at_every_place() -> None:
    readable = [readable_grant_id(StreamId(str(UUID(int=number)))) for number in range(2000)]
    assert len(set(readable)) == 2000
    for place in range(3, 19):
        assert len({each[place] for each in readable}) == 32


def test_a_readable_id_never_changes() -> None:
    """People have written them down: this grant is called so for ever."""
    assert readable_grant_id(StreamId("018f0000-0000-7000-8000-000000000001")) == "cg-n3djqxfxnw6cc2rt"
