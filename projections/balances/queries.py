"""Questions to balances by pool."""

from typing import NamedTuple

from ledger.domain.credits import Credits
from ledger.domain.values import PoolKey
from ledger.store.sql import statement
from projections.read_model import BALANCES
from projections.reading import Snapshot


class PoolBalance(NamedTuple):
    """All movements of a pool, summed; Credits. `balance` is booked: granted - debited + refunded - voided - expired.

    `position` is that of the pool's last movement.
    """

    granted: Credits
    debited: Credits
    refunded: Credits
    voided: Credits
    expired: Credits
    balance: Credits
    position: int


EMPTY = PoolBalance(0, 0, 0, 0, 0, 0, 0)


def pool_balance(snapshot: Snapshot, pool: PoolKey) -> PoolBalance:
    """The balance of one pool; one that never had a movement is empty."""
    row = snapshot.one(BALANCES, statement("projections.balances", "of_pool.sql"), pool._asdict())
    return EMPTY if row is None else PoolBalance(**row)
