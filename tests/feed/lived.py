"""A log in which everything has happened that random histories bring about."""

from collections.abc import Sequence
from typing import Any

from hypothesis import Phase, given, settings

from ledger.application import BlockingLedger, CreditLedger
from ledger.store.clock import settable_clock
from ledger.store.database import Database
from tests.conftest import Hands
from tests.history import Play, histories


def lived_through(database: Database) -> None:
    """Play some random histories, one after the other, on one ledger."""
    with CreditLedger(database, clock=settable_clock()) as ledger:
        Play(BlockingLedger(ledger), Hands(database)).all(acts_of(4))


def acts_of(histories_drawn: int) -> Sequence[Any]:
    """The acts of so many random histories, the same at each run."""
    drawn: list[Any] = []

    @settings(max_examples=histories_drawn, phases=[Phase.generate])
    @given(acts=histories)
    def draw(acts: Sequence[Any]) -> None:
        drawn.extend(acts)

    draw()
    return drawn
