"""The benchmark by its own entrance, and what it needs of a server: durable commits, and the costs of its processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from scripts.benchmark.measure import Measurement
from scripts.benchmark.places import NotDurable, place
from scripts.benchmark.processors import Meter, find_postmaster

ROOT = Path(__file__).parent.parent.parent
BUSY = "SELECT count(*) FROM generate_series(1, 300000)"


def schemas_and_roles(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bench%') "
            "+ (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'bench%')"
        ).fetchone()
        assert row is not None
        return int(row[0])


def test_a_smoke_run_prints_every_row_draws_them_and_leaves_nothing(server_dsn: str, tmp_path: Path) -> None:
    picture = tmp_path / "debits.svg"
    given = [
        "--json",
        "--runs",
        "1",
        "--seconds",
        "0.02",
        "--history",
        "10",
        "--plot",
        str(picture),
        "--dsn",
        server_dsn,
    ]
    command = [sys.executable, "-m", "scripts.benchmark", "debits", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (1 if told["below_must"]["debits"] else 0)
    debits = told["sections"]["debits"]
    names = [row["name"] for row in debits["rows"]]
    assert names[0] == "INSERT of one row, 1 connection"
    assert "debits, lists of 8,000, one hot pool" in names
    assert [callers for callers, _ in debits["debits_per_second_by_callers"]] == [2**power for power in range(10)]
    assert [length for length, _ in debits["p50_ms_by_debits_on_the_lot"]] == [1, 10]
    assert "</svg>" in picture.read_text()
    assert schemas_and_roles(server_dsn) == 0


def test_a_server_that_may_lose_commits_is_refused(server_dsn: str) -> None:
    lax = make_conninfo(server_dsn, options="-c synchronous_commit=off")
    with pytest.raises(NotDurable, match="synchronous_commit"), place(lax):
        pass


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--dsn", "host=/nowhere"], "could not be measured: connection"),
        (["--dsn", ""], "--dsn needs the address of a server"),
        (["--plot", "/nowhere/p.svg"], "/nowhere/p.svg cannot be written"),
        (["--json-file", "/nowhere/p.json"], "/nowhere/p.json cannot be written"),
    ],
)
def test_what_cannot_be_measured_is_told_at_once_in_a_sentence(given: list[str], reason: str) -> None:
    command = [sys.executable, "-m", "scripts.benchmark", "debits", "--quick", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_the_costs_of_the_server_include_sessions_that_have_ended(server_dsn: str) -> None:
    postmaster = find_postmaster(server_dsn)
    if postmaster is None:
        pytest.skip("the server is on another machine")

    def sessions() -> Measurement:
        begun = time.perf_counter()
        for _ in range(5):
            with psycopg.connect(server_dsn) as connection:
                connection.execute(BUSY)
        return Measurement(5, time.perf_counter() - begun, [])

    with psycopg.connect(server_dsn) as connection:
        plan = connection.execute(f"EXPLAIN ANALYZE {BUSY}").fetchall()
    once = float(plan[-1][0].split()[2]) / 1000
    spent = Meter(postmaster).measure(sessions).processors
    assert spent.postgresql is not None
    assert spent.postgresql > once
    assert spent.python is not None
    assert spent.client is None
