"""A service that is ended, killed and started again while others write: its subscribers notice nothing."""

import signal
from collections.abc import Callable
from threading import Thread

from ledger.application import BlockingLedger, ConsumeCredits, CreditLedger
from ledger.store.database import Database
from service.client import Event
from tests.client.cut_connections import CutConnections
from tests.client.reading import EVERY_WAY
from tests.service.load import eventually
from tests.service.serving import KEY, serving

USES, AT_ONCE = 3000, 6
AHEAD_MAX = 300
"""How many events are written at most before the slowest subscriber has got them."""
SECONDS_MAX = 60.0
NOBODY = "http://127.0.0.1:1"
LOG = "SELECT position, transaction_id::text FROM events ORDER BY position"


def test_a_service_that_is_ended_and_killed_in_the_middle_loses_doubles_and_reorders_nothing(
    database: Database,
) -> None:
    """By both doors and both faces at the same time."""
    found: list[list[Event]] = [[] for _ in EVERY_WAY]

    def seen() -> int:
        return min(map(len, found))

    with CutConnections(NOBODY, []) as way:
        work = [Thread(target=write, args=[database, seen], daemon=True)]
        for (read, door), events in zip(EVERY_WAY, found, strict=True):
            asked = (way.url, KEY, door, USES + 1)
            work.append(Thread(target=read, args=asked, kwargs={"found": events}, daemon=True))
        for thread in work:
            thread.start()
        for until, end in ((USES // 3, signal.SIGTERM), (USES * 2 // 3, signal.SIGKILL), (USES + 1, signal.SIGTERM)):
            with serving(database_url=database.dsn, schema=database.schema) as service:
                way.lead_to(service.url)
                assert eventually(lambda until=until: seen() >= until, SECONDS_MAX), list(map(len, found))  # type: ignore[misc]
                assert service.end(end) in {0, -signal.SIGKILL}
        for thread in work:
            thread.join(SECONDS_MAX)

    with database.connect(None) as connection:
        log = [tuple(row.values()) for row in connection.execute(LOG)]
    assert len(log) == USES + 1
    for events in found:
        assert [(event.position, event.data["transactionId"]) for event in events] == log


def write(database: Database, seen: Callable[[], int]) -> None:
    """One event for each use, whether or not the service is there."""
    with CreditLedger(database) as ledger:
        BlockingLedger(ledger).issue_grant(
            holder="acme", currency="credits", amount=USES, display_name="plenty", grant_type="PAID"
        )
        for written in range(0, USES, AT_ONCE):
            assert eventually(lambda written=written: written - seen() < AHEAD_MAX, SECONDS_MAX)  # type: ignore[misc]
            ledger.execute_many_blocking([ConsumeCredits(holder="acme", currency="credits", amount=1)] * AT_ONCE)
