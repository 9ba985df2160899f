"""Signatures after the Standard Webhooks convention: HMAC-SHA256 of a message's id, the second and the body."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

PREFIX = "whsec_"
SECRET_BYTES = 32
SIGNING_MAX = 5
"""So many secrets of an endpoint sign at once, the newest; each makes the header longer."""


class Secret(NamedTuple):
    """`good_until` is None for the newest; it replaced the others, which sign until then."""

    secret: str
    created_at: datetime
    good_until: datetime | None

    def good(self, now: datetime) -> bool:
        return self.good_until is None or now < self.good_until


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(message_id: str, body: bytes, good: Sequence[str], now: datetime) -> dict[str, str]:
    """The headers that go with a body: its id, the present second, and a signature by each good secret."""
    second = str(int(now.timestamp()))
    signed = f"{message_id}.{second}.".encode() + body
    signatures = " ".join(f"v1,{_signature(secret, signed)}" for secret in good)
    return {"webhook-id": message_id, "webhook-timestamp": second, "webhook-signature": signatures}


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
