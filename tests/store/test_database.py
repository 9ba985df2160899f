"""Connections: how values are read does not depend on where they are read."""

from datetime import UTC, datetime

import pytest

from ledger.store.database import Database, Role


def test_instants_are_read_alike_whatever_the_environment_says_of_dates(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq sends these of the environment beside a connection's own options, and they win."""
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "German")
    with database.connect(Role.READER) as connection:
        query = "SELECT t, t::text AS told FROM (SELECT '2026-07-05T01:00:00Z'::timestamptz AS t) AS asked"
        row = connection.execute(query).fetchone()
    assert row == {"t": datetime(2026, 7, 5, 1, tzinfo=UTC), "told": "2026-07-05 01:00:00+00"}
