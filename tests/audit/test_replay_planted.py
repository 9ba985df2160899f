"""A fault of each kind, planted in the log, is found by the replay and named where it is: there and in an export."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.domain.audit.findings import CHECKS
from ledger.store.database import Database
from tests.audit.exporting import export_events
from tests.audit.planted import FAULTS, OF_DRAWS, pay_in_turns
from tests.audit.replaying import Auditor, Planted
from tests.projections.followed import followed_ledger

FIRST_OF_KIND = {fault.check: fault for fault in reversed(FAULTS)}


def test_there_is_a_fault_for_every_check() -> None:
    assert set(FIRST_OF_KIND) == set(CHECKS)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.check}-{place}" for place, fault in enumerate(FAULTS)])
def test_a_planted_fault_is_found_and_named(auditor: Auditor, lived: Database, tmp_path: Path, fault: Planted) -> None:
    with fault.in_log_of(lived) as position:
        fault.is_found(auditor.replay(), position)
        if fault is FIRST_OF_KIND[fault.check]:
            exported = export_events(lived, tmp_path / "events.jsonl")
            fault.is_found(auditor.at(None).replay("--from-export", str(exported)), position)


@pytest.fixture(scope="module")
def paying(server_dsn: str) -> Iterator[Database]:
    with followed_ledger(server_dsn) as followed:
        pay_in_turns(followed.books, followed.hands)
        yield followed.database


@pytest.mark.parametrize("fault", OF_DRAWS, ids=lambda fault: f"at-{fault.row}")
def test_what_was_right_until_the_event_before_is_found(auditor: Auditor, paying: Database, fault: Planted) -> None:
    assert auditor.at(paying).replay().failed == {}
    with fault.in_log_of(paying) as position:
        fault.is_found(auditor.replay(), position)
