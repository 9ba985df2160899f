"""What the doors of one process share."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.application import CreditLedger
from projections.reading import Reader
from projections.runner import Runner
from projections.status import Overview
from service.api_keys import KeyRing
from service.feed.feed import Feed
from service.metrics import Metrics
from service.rate_limit import RateLimit, TokenBuckets
from service.reactors import Reactors
from service.reads import Threads
from service.rest.tokens import Tokens
from service.signing import Signing
from service.webhooks.endpoints import Backlog


@dataclass(frozen=True)
class Parts:
    """`runner` is None in a process that only serves: then its reactors do not run by itself either.

    `overview` asks the database about every build of a projection, `backlog` about webhooks. `test_clock` says whether
    there is one to set.
    """

    ledger: CreditLedger
    reader: Reader
    threads: Threads
    keys: KeyRing
    reactors: Reactors
    signing: Signing
    tokens: Tokens
    execution_rate: RateLimit
    rule_rate: TokenBuckets
    feed: Feed
    metrics: Metrics
    overview: Callable[[], Overview]
    backlog: Callable[[], Backlog]
    runner: Runner | None
    test_clock: bool
