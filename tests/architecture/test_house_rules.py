"""Rules of the house that a machine can hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("ledger", "projections", "service")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
SQL = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.sql"))
CLOCKS = {"clock.sql", "test_clock.sql"}
STALLED = {"stalled_holder.sql"}
"""Asks how long a session of the server has been idle: the machine's time, not the ledger's."""


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", SQL, ids=ids(SQL))
def test_sql_reads_no_clock(path: Path) -> None:
    """One clock: a fold or a query that read the server's time could never be replayed."""
    if path.name in CLOCKS | STALLED:
        return
    text = re.sub(r"--.*", "", path.read_text())
    forbidden = r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|random)\s*\(|\bcurrent_timestamp\b"
    assert not re.search(forbidden, text, re.IGNORECASE)


@pytest.mark.parametrize("path", sorted((ROOT / "projections").rglob("*.sql")), ids=lambda path: path.name)
def test_read_models_read_the_view_alone(path: Path) -> None:
    text = re.sub(r"--.*", "", path.read_text())
    assert not re.search(r"\b(events|open_lots|due|claims|idempotency|documents)\b", text)


@pytest.mark.parametrize("path", sorted((ROOT / "ledger" / "domain").glob("*.py")), ids=lambda path: path.name)
def test_the_domain_reads_no_clock_and_has_no_floats(path: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    calls = {node.func.id for node in ast.walk(ast.parse(path.read_text())) if _is_plain_call(node)}  # type: ignore[attr-defined]
    assert not names & {"now", "utcnow", "today", "monotonic", "perf_counter"} - allowed(path)
    assert "float" not in calls


def _is_plain_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def allowed(path: Path) -> set[str]:
    """A decision has a `now`: the instant it was given."""
    users = {"decision.py", "due.py", "credit_grant.py", "execution_credit.py", "grant_schedule.py", "auto_recharge.py"}
    users |= {"allocation_rule.py"}
    return {"now"} if path.name in users else set()


@pytest.mark.parametrize("path", SOURCES, ids=ids(SOURCES))
def test_a_file_stays_one_room(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 440
    assert path.stem not in {"utils", "helpers", "common", "manager"}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=str)
def test_each_room_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_nothing_happens_on_import(tmp_path: Path) -> None:
    """Every module is imported in an empty folder, without an environment, and opens nothing.

    `-B`: Python itself would make a folder for the bytecode of a module that it imports for the first time.
    """
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES]
    program = "import sys, threading, importlib\n"
    program += "def seen(event, args):\n"
    program += "    if event in ('socket.connect', 'subprocess.Popen', 'os.mkdir'): raise SystemExit(event)\n"
    program += "sys.addaudithook(seen)\n"
    program += "".join(f"importlib.import_module({module!r})\n" for module in modules)
    program += "assert threading.active_count() == 1\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_glossary_knows_every_command() -> None:
    from ledger.application.commands import Command

    def below(command: type[Command]) -> set[str]:
        found = {command.__name__} if hasattr(command, "operation") else set()
        return found.union(*(below(kind) for kind in command.__subclasses__()))

    glossary = (ROOT / "docs" / "glossary.md").read_text()
    assert {name for name in below(Command) if f"`{name}`" not in glossary} == set()
