"""The control totals of exported events: for each contract and currency, what came to the lots and what left them."""

from collections import defaultdict
from typing import Any

from ledger.domain.credits import Credits, credits_text
from ledger.domain.events import Debited, Expired, Granted, Movement, Refunded, Voided

UNITS = ("kind", "currency")
MOVED: dict[str, type[Movement]] = {
    "granted": Granted,
    "debited": Debited,
    "refunded": Refunded,
    "voided": Voided,
    "expired": Expired,
}
SUMS: dict[str, tuple[str, int]] = {kind.TOPIC: (name, kind.SIGN) for name, kind in MOVED.items()}
"""By an event's topic: what its amounts are told as, and the sign they have in the log."""


class EventTotals:
    """Adds up events, or stretches of them that are summed by type already."""

    def __init__(self) -> None:
        self.rows = 0
        self._rows: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._sums: defaultdict[tuple[str, str], defaultdict[str, Credits]] = defaultdict(lambda: defaultdict(int))

    def take(self, kind: str | None, currency: str | None, topic: str, amount: Credits | None, rows: int = 1) -> None:
        """`rows` events of one type; `amount` is signed as in the log."""
        unit = (kind or "", currency or "")
        self.rows += rows
        self._rows[unit] += rows
        if topic in SUMS and amount is not None:
            name, sign = SUMS[topic]
            self._sums[unit][name] += sign * amount

    def told(self) -> list[dict[str, Any]]:
        """As those of reports are told, in the units' order."""
        return [
            dict(zip(UNITS, unit, strict=True))
            | {"rows": rows}
            | {name: credits_text(self._sums[unit][name]) for name, _ in SUMS.values()}
            for unit, rows in sorted(self._rows.items())
        ]
