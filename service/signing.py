"""What this ledger signs so that it knows it again: the tokens of logins and of pages, in all its processes alike."""

import base64
import hashlib
import hmac

from ledger.application import CreditLedger
from ledger.store.sql import query

SIGNATURE_DIGITS = 64


def armoured(text: str) -> str:
    """A text as it goes into a token: opaque to look at, and safe anywhere."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unarmoured(token: str) -> str:
    """The text in a token. Raises ValueError for what `armoured` never gave."""
    text = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    if armoured(text) != token:
        raise ValueError("this is another spelling of it")
    return text


class Signing:
    """Signs with the ledger's own secret, which is read once and is never shown."""

    def __init__(self, ledger: CreditLedger) -> None:
        self._ledger = ledger
        self._secret: bytes | None = None

    def signature(self, purpose: str, text: str) -> str:
        """The signature of a text, in hexadecimal digits; another for each purpose. May wait for the database."""
        if self._secret is None:
            with self._ledger.connection() as connection:
                row = connection.execute(query("token_secret")).fetchone()
            assert row is not None
            self._secret = row["secret"].encode()
        return hmac.new(self._secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()
