"""A line of the log: the columns of one event as PostgreSQL's COPY text format writes them, in UTC.

Instants of such lines are in the order of their texts, from the year 1 to 9999: '+' < '.' < digits.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from ledger.domain.credits import Credits
from ledger.domain.instants import Instant

NULL = r"\N"
NO_DATA = "{}"
CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
"""By the letter that COPY's text format tells each by."""
NEVER = "~"
"""After every instant's text."""
LONG_AGO = ""
"""Before every instant's text."""
ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
DOCUMENT_ALONE = re.compile(
    rf'\{{"document": \{{"sha256": "[0-9a-f]{{64}}", "document_id": "{ID}"\}}\}}(?=\t|\Z)', re.ASCII
).match
"""What a movement most often has to tell besides its columns, up to the end of the column."""


class Line(NamedTuple):
    """The columns of an event, as texts, in the order of a line: a test holds their names to those of the log.

    What mostly differs from one line to the next comes first, then what a lot's debits repeat, and last what only the
    events of one transaction have to agree on: what is not looked at one by one need not be taken apart.
    """

    position: str
    transaction_id: str
    recorded_at: str
    version: str
    effective_at: str
    use_at: str
    lot: str
    amount: str
    debit_id: str
    account_groups: str
    lot_used: str
    lot_balance: str
    pool_balance: str
    type: str
    schema_version: str
    cause: str
    stream_id: str
    kind: str
    holder: str
    currency: str
    resource: str
    grant_type: str
    terms_version: str
    lot_granted: str
    data: str
    transaction_last: str
    actor_kind: str
    actor_key: str
    correlation_id: str
    causation_id: str

    @property
    def pool(self) -> "PoolText":
        return self.kind, self.holder, self.currency, self.resource


def line_of(text: bytes) -> Line:
    """A line as it came, with its line end."""
    return Line._make(text.decode().rstrip("\n").split("\t"))


AS_A_WHOLE = Line._fields.index("type")
"""How many columns of an ordinary debit are taken apart; the others are compared as one text."""
BEHIND_DATA = len(Line._fields) - Line._fields.index("data") - 1
PoolText = tuple[str, str, str, str]
"""A pool's key as lines tell it: kind, holder, currency, resource."""


def credits_of_text(text: str) -> Credits:
    """An amount with its 9 places."""
    return int(text.replace(".", ""))


@lru_cache(maxsize=1024)
def text_of_instant(instant: Instant | None) -> str:
    """An instant as a line tells it; NEVER for none."""
    if instant is None:
        return NEVER
    text = instant.isoformat(sep=" ")
    return f"{text[:26].rstrip('0') if instant.microsecond else text[:19]}+00"


def is_instant(text: str) -> bool:
    """Whether a text stands in the order of instants."""
    return text[4:5] == "-" and text.endswith("+00")


def unescaped(text: str) -> str:
    """A column as it is, for people: without the escapes of its line."""
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda found: CONTROLS.get(found[1], found[1]), text, flags=re.DOTALL)
