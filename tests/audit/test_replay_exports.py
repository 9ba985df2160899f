"""A log is replayed from an export as from its database, with no database at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.store.database import Database
from service.refusals import Exit
from tests.audit.exporting import FORMATS, export_events, fit_manifest
from tests.audit.replaying import Auditor
from tests.projections.followed import followed_ledger
from tests.service.test_doctor import asked, harmed


@pytest.mark.parametrize("ending", FORMATS)
def test_an_export_is_replayed_as_its_database_is(
    auditor: Auditor, lived: Database, tmp_path: Path, ending: str
) -> None:
    """To its end and up to a position; what serves is not compared, and that is said."""
    exported = str(export_events(lived, tmp_path / f"events{ending}"))
    of_database = [auditor.replay(), auditor.replay("--to", "30"), auditor.replay("--to", "2026-02-20T00:00:00Z")]
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(of_database[1].data))
    auditor.at(None)
    of_export = [
        auditor.replay("--from-export", exported, "--against", str(earlier)),
        auditor.replay("--from-export", exported, "--to", "30"),
        auditor.replay("--from-export", exported, "--to", "2026-02-20T00:00:00Z"),
    ]
    for one, other in zip(of_export, of_database, strict=True):
        assert one.ends == Exit.DONE
        assert one.data["numbers"].pop("sha256").keys() == {ending.removeprefix(".")}
        assert other.data["numbers"].pop("sha256").keys() == {"log"}
        for name in ("ledger", "epoch", "position", "recordedAt", "checks", "numbers"):
            assert one.data[name] == other.data[name], name
        assert {each["passed"] for each in one.data["comparisons"]} == {None}
    assert of_export[0].data["earlierReplay"]["passed"]


ODD = ["a\bb", "a\fb", "a\vb", "a\tb", "a\nb", "a\rb", "a\\b", r"\N", r"\b", "a\x1fb", '{"x","y"}', "a\u2028b"]
"""Names of which COPY tells some characters by others, and some that look like what it tells."""


@pytest.fixture(scope="module")
def odd(server_dsn: str) -> Iterator[Database]:
    """A ledger in which all has these names."""
    with followed_ledger(server_dsn) as followed:
        for name in ODD:
            pool = {"holder": name, "currency": name, "resource": name}
            followed.books.issue_grant(**pool, amount=5, grant_type="PAID", display_name=name, cost=5)
            debit = followed.books.consume(**pool, amount=2, account_groups=(name, "NULL"))
            followed.books.refund(transaction_id=debit.transaction_id, amount=1)
        with followed.at_head():
            yield followed.database


def test_any_text_is_replayed_and_told_as_it_is(auditor: Auditor, odd: Database, tmp_path: Path) -> None:
    """From the database, and from exports of each format with the same numbers."""
    replayed = auditor.at(odd).replay()
    assert (replayed.ends, replayed.failed) == (Exit.DONE, {})
    assert {each["passed"] for each in replayed.data["comparisons"]} == {True}
    assert [row["currency"] for row in replayed.data["numbers"]["sums"]] == sorted(ODD)
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(replayed.data))
    for ending in FORMATS:
        folder = tmp_path / ending
        folder.mkdir()
        exported = export_events(odd, folder / f"events{ending}")
        again = auditor.replay("--from-export", str(exported), "--against", str(earlier))
        assert (again.ends, again.failed) == (Exit.DONE, {}), ending
        assert again.data["numbers"] | {"sha256": {}} == replayed.data["numbers"] | {"sha256": {}}, ending


@pytest.mark.parametrize("holder", ODD)
def test_whose_row_differs_is_told_as_it_is(auditor: Auditor, odd: Database, holder: str) -> None:
    table = asked(odd, "SELECT name || '_' || version FROM projections WHERE name = 'balances'")
    as_text = "".join(f"\\{ord(each):04x}" for each in holder)
    with harmed(odd, f'"{table}"', f"UPDATE \"{table}\" SET position = position - 1 WHERE holder = U&'{as_text}'"):
        replayed = auditor.at(odd).replay()
    (failed,) = replayed.failed.values()
    assert (failed["differences"], failed["first"]["key"]["holder"]) == (1, holder)


def test_an_export_that_is_damaged_is_refused(auditor: Auditor, lived: Database, tmp_path: Path) -> None:
    """By its hash, its rows, a row that is none, or a beginning that is not the log's; and one without a manifest."""
    path = export_events(lived, tmp_path / "events.jsonl")
    lines = path.read_text().splitlines(keepends=True)

    def refused() -> str:
        ends, out, err = auditor.printed("--from-export", str(path))
        assert (ends, out) == (Exit.REFUSED, "")
        return err

    path.write_text("".join(lines[:-1]))
    assert "the manifest says" in refused()
    fit_manifest(path)
    assert f"has {len(lines) - 1} rows, the manifest says {len(lines)}" in refused()
    path.write_text("".join(lines[5:]))
    fit_manifest(path)
    assert "begins at position 6: a replay needs the whole log" in refused()
    path.write_text("".join([*lines[:5], lines[5].replace('0000Z"', '0Z"'), *lines[6:]]))
    fit_manifest(path)
    assert "row 6: " in refused()
    (tmp_path / "manifest.json").unlink()
    assert "cannot be read beside its manifest.json" in refused()
