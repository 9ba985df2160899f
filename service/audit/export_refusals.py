"""What is told to somebody whose export cannot be written."""

from dataclasses import dataclass

from ledger.domain.refusals import Refusal


@dataclass(eq=False)
class ExportExists(Refusal):
    """An export never overwrites: the folder has a file of this name that says something else."""

    code = "ExportExists"
    file: str

    @property
    def message(self) -> str:
        return f"{self.file} exists and is another export: nothing was written"


@dataclass(eq=False)
class AmountTooLong(Refusal):
    """Parquet's decimals have 38 digits; the other forms have room for any sum."""

    code = "AmountTooLong"
    column: str
    amount: str
    digits_max: int

    @property
    def message(self) -> str:
        return (
            f"{self.column} has an amount of more than {self.digits_max} digits, {self.amount}: "
            f"Parquet cannot hold it, CSV and JSONL can"
        )
