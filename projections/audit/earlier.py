"""The numbers of a replay, as its report tells them, held against those of an earlier replay of the same ledger."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.domain.audit.fold import Totals
from ledger.domain.credits import credits_text
from ledger.domain.refusals import InvalidArgument
from ledger.store.epochs import Identity
from projections.audit.folding import Passed

SHA256 = "the SHA-256 of the"


@dataclass(frozen=True)
class Earlier:
    """What an earlier replay came to."""

    ledger_id: str
    epoch: str
    position: int
    numbers: Mapping[str, Any]


def earlier_from(path: Path) -> Earlier:
    """Read the JSON that a replay printed. Refuses: InvalidArgument."""
    try:
        told = json.loads(path.read_text())
        return Earlier(told["ledger"], told["epoch"], int(told["position"]), dict(told["numbers"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidArgument("against", f"must be a file that a replay printed with --json: {path}") from error


def check_comparable(earlier: Earlier, ledger: Identity | None, ledger_id: str, until: int) -> None:
    """Refuses: InvalidArgument, for a replay of another ledger, or one that went further than this one may."""
    if earlier.ledger_id != ledger_id:
        raise InvalidArgument("against", f"must be of ledger {ledger_id}, not of {earlier.ledger_id}")
    if earlier.position > until:
        raise InvalidArgument("against", f"went to position {earlier.position}, beyond {until}")
    if ledger is not None and (common := ledger.last_common(earlier.epoch, earlier.position)) < earlier.position:
        raise InvalidArgument("against", f"is of an epoch of which nothing is left after position {common}")


def numbers(passed: Passed, totals: Totals) -> dict[str, Any]:
    """All that a replay counts and adds up; amounts as texts."""
    return {
        "events": passed.events,
        "transactions": passed.transactions,
        "lots": totals.lots,
        "pools": totals.pools,
        "sha256": dict(passed.sha256),
        "sums": [
            {"kind": kind, "currency": currency}
            | {name: credits_text(amount) for name, amount in sums._asdict().items()}
            for (kind, currency), sums in sorted(totals.sums.items())
            if any(sums)
        ],
    }  # fmt: skip


def first_difference(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first number that is not what the earlier replay had, in words.

    A hash of the lines only says something beside one of lines from the same kind of place.
    """
    then, present = dict(_flat(earlier)), dict(_flat(now))
    for name in [*present, *(name for name in then if name not in present)]:
        if name.startswith(SHA256) and not (name in then and name in present):
            continue
        if then.get(name) != present.get(name):
            return f"{name} is {present.get(name, 'nothing')}, it was {then.get(name, 'nothing')}"
    return None


def _flat(numbers: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in numbers.items():
        if name == "sums":
            for row in value:
                yield from (
                    (f"{each} of {row['kind']} {row['currency']}", amount)
                    for each, amount in row.items()
                    if each not in ("kind", "currency")
                )
        elif name == "sha256":
            yield from ((f"{SHA256} {kind}", digest) for kind, digest in value.items())
        else:
            yield name, value
