"""The main job through the Python face, on a real PostgreSQL."""

from datetime import timedelta

import pytest

from ledger.application import BlockingLedger
from ledger.domain.credits import credits_of
from ledger.domain.refusals import InsufficientCredits
from tests.conftest import Hands


def test_a_debit_takes_from_the_grant_that_ends_first(books: BlockingLedger, hands: Hands) -> None:
    late = books.issue_grant(
        holder="acme", currency="credits", amount=50, display_name="late", grant_type="PAID",
        expires_at=hands.now + timedelta(days=9),
    )  # fmt: skip
    soon = books.issue_grant(
        holder="acme", currency="credits", amount=50, display_name="soon", grant_type="PAID",
        expires_at=hands.now + timedelta(days=1),
    )  # fmt: skip
    debit = books.consume(holder="acme", currency="credits", amount=60)
    assert debit.draws == ((soon.lot_id, credits_of(50)), (late.lot_id, credits_of(10)))


def test_a_debit_beyond_the_balance_is_refused_with_the_shortfall(books: BlockingLedger) -> None:
    books.issue_grant(holder="acme", currency="credits", amount="1.5", display_name="g", grant_type="PAID")
    with pytest.raises(InsufficientCredits) as refused:
        books.consume(holder="acme", currency="credits", amount=2)
    assert refused.value.facts == {
        "available": credits_of("1.5"),
        "requested": credits_of(2),
        "shortfall": credits_of("0.5"),
    }
