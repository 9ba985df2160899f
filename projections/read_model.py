"""A read model: two SQL texts, and a version that is their hash, so that its tables can never lag behind its code."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import LiteralString

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.sql import statement

VERSION_DIGITS = 12


@dataclass(frozen=True)
class ReadModel:
    """A folder of this package. In both texts `{table}` stands for the table that holds this version's rows.

    A `suffix` makes another table of the same version: the same rows, folded beside.
    """

    name: str
    suffix: str = ""

    @cached_property
    def schema_sql(self) -> LiteralString:
        return statement(f"projections.{self.name}", "schema.sql")

    @cached_property
    def fold_sql(self) -> LiteralString:
        return statement(f"projections.{self.name}", "fold.sql")

    @cached_property
    def version(self) -> str:
        text = f"{self.schema_sql}\0{self.fold_sql}"
        return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(f"{self.name}_{self.version}{self.suffix}")

    def sql(self, text: LiteralString) -> sql.Composed:
        """A text of this read model with its table's name in it."""
        return sql.SQL(text).format(table=self.table)

    def create(self, connection: Connection[DictRow]) -> None:
        """Make this version's empty table and its row in the registry, if they are not there."""
        known = connection.execute(
            "SELECT 1 FROM projections WHERE name = %s AND version = %s", [self.name, self.version]
        ).fetchone()
        if known is None:
            connection.execute(self.sql(self.schema_sql))
            connection.execute(
                "INSERT INTO projections (name, version, schema_sql, fold_sql) VALUES (%s, %s, %s, %s)",
                [self.name, self.version, self.schema_sql, self.fold_sql],
            )

    def fold(self, connection: Connection[DictRow], after: int, until: int) -> None:
        """Fold the window (after, until] of the log into the table; it must end where a transaction ends."""
        connection.execute(self.sql(self.fold_sql), {"after": after, "until": until})


BALANCES = ReadModel("balances")
LOTS = ReadModel("lots")
ENTRIES = ReadModel("entries")
SCHEDULES = ReadModel("schedules")
RECHARGES = ReadModel("recharges")
USAGE = ReadModel("usage")
EXECUTION_CREDITS = ReadModel("execution_credits")
ALLOCATION_RULES = ReadModel("allocation_rules")
GROUP_SETS = ReadModel("group_sets")
GROUP_USAGE = ReadModel("group_usage")
RULE_MODELS = (ALLOCATION_RULES, GROUP_SETS, GROUP_USAGE)
"""What the usage of rules is read from."""
SUMMARY_MODELS = (GROUP_USAGE, LOTS, EXECUTION_CREDITS)
"""What their summary is read from."""
READ_MODELS = (
    *(BALANCES, LOTS, ENTRIES, SCHEDULES, RECHARGES, USAGE, EXECUTION_CREDITS),
    *RULE_MODELS,
)
