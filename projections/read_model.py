"""A read model: two SQL texts, and a version that is their hash, so that its tables can never lag behind its code."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import LiteralString, Self

from psycopg import Connection, sql
from psycopg.rows import DictRow

from ledger.store.sql import statement

VERSION_DIGITS = 12


@dataclass(frozen=True)
class ReadModel:
    """A folder of this package. In both texts `{table}` stands for the table that holds the rows.

    A `suffix` makes another build of the same version: the same rows, folded into a table beside. `key` names the
    columns by which one row is told from another.
    """

    name: str
    suffix: str = ""
    key: tuple[str, ...] = ()

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
    def build(self) -> str:
        """What the registry calls this table: the version, and the suffix of a table beside."""
        return f"{self.version}{self.suffix}"

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(f"{self.name}_{self.build}")

    def built_as(self, build: str) -> Self:
        """The build of this version that the registry calls so."""
        assert build.startswith(self.version), f"{build} is no build of {self.name} {self.version}"
        return replace(self, suffix=build[len(self.version) :])

    def sql(self, text: LiteralString) -> sql.Composed:
        """A text of this read model with its table's name in it."""
        return sql.SQL(text).format(table=self.table)

    def fold(self, connection: Connection[DictRow], after: int, until: int, skips: Sequence[int] = ()) -> None:
        """Fold the window (after, until] of the log into the table, without the events at `skips`, in order.

        It must end where a transaction ends.
        """
        for skipped in [*skips, until + 1]:
            if skipped - 1 >= after:
                connection.execute(self.sql(self.fold_sql), {"after": after, "until": skipped - 1})
            after = skipped


BALANCES = ReadModel("balances", key=("holder", "currency", "kind", "resource"))
LOTS = ReadModel("lots", key=("lot",))
ENTRIES = ReadModel("entries", key=("position",))
SCHEDULES = ReadModel("schedules", key=("schedule",))
RECHARGES = ReadModel("recharges", key=("configuration",))
USAGE = ReadModel("usage", key=("holder", "kind", "resource", "grain", "bucket_at", "currency", "dimension_set"))
EXECUTION_CREDITS = ReadModel("execution_credits", key=("credit",))
ALLOCATION_RULES = ReadModel("allocation_rules", key=("rule", "from_position"))
GROUP_SETS = ReadModel("group_sets", key=("group_set",))
GROUP_USAGE = ReadModel("group_usage", key=("grain", "bucket_at", "position", "currency", "group_set"))
RULE_MODELS = (ALLOCATION_RULES, GROUP_SETS, GROUP_USAGE)
"""What the usage of rules is read from."""
SUMMARY_MODELS = (GROUP_USAGE, LOTS, EXECUTION_CREDITS)
"""What their summary is read from."""
READ_MODELS = (
    *(BALANCES, LOTS, ENTRIES, SCHEDULES, RECHARGES, USAGE, EXECUTION_CREDITS),
    *RULE_MODELS,
)


@dataclass(frozen=True)
class RecordedModel(ReadModel):
    """A build as the registry has it: its texts may be those of another version of this code."""

    texts: tuple[LiteralString, LiteralString] = ("", "")

    @cached_property
    def schema_sql(self) -> LiteralString:
        return self.texts[0]

    @cached_property
    def fold_sql(self) -> LiteralString:
        return self.texts[1]
