"""Revenue: what becomes of the cost of a grant, by cumulative rounding, so that no billionth is lost or made.

Money is whole billionths of the cost's currency. Source: the contract of credit grants, 'Payment' and 'Expire'.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ledger.domain.credits import Credits, credits_of
from ledger.domain.grant_details import GrantDetails, half_even
from ledger.domain.instants import Instant
from ledger.domain.values import PaymentMethod

Money: TypeAlias = int
"""An amount of money in units of 10**-9 of its currency; signed where the docstring says so."""


class Price(NamedTuple):
    """What a grant costs as a whole, and the credits that it costs this for, which are above zero."""

    cost: Money
    granted: Credits
    carried_on: bool = False
    """Whether the credits, and their cost with them, rolled over from another grant."""

    @classmethod
    def of(cls, details: GrantDetails, granted: Credits) -> "Price":
        return cls(credits_of(details.cost.amount), granted, details.rolled_over_from is not None)

    def share(self, number: Credits) -> Money:
        """What so many of its credits cost, counted from the first one; rounded half to even."""
        return half_even(self.cost * number, self.granted)

    def returned(self, number: Credits, used: Credits) -> Money:
        """What a refund of so many credits gives back, where `used` is what it leaves used."""
        return self.share(used + number) - self.share(used)


@dataclass(slots=True)
class Course:
    """How far a grant has come: Credits, and what is told in Money.

    `used` is net of refunds; `voided` and `lapsed` are what was lost at its end, and since; what rolled over is not in
    them. `owed` is what is booked on it, or is to come in when it begins.
    """

    counts: bool = False
    """Whether its payment is recorded, or, where none is asked for, whether it has begun."""
    used: Credits = 0
    voided: Credits = 0
    lapsed: Credits = 0
    owed: Credits = 0
    refunds: Money = 0
    """What its refunds gave back, one by one."""
    carried_out: Money = 0
    """The cost of the grants that its remainder rolled over to."""


class Revenue(NamedTuple):
    """What has become of what a grant cost, or of the costs of many in one currency; Money.

    cost + carried_in = recognised + breakage + voided + carried_out + what is deferred. `recognised` is net of
    `refunds`: together they are what was recognised before anything came back.
    """

    cost: Money = 0
    carried_in: Money = 0
    recognised: Money = 0
    refunds: Money = 0
    breakage: Money = 0
    voided: Money = 0
    carried_out: Money = 0

    @property
    def deferred(self) -> Money:
        """What is left of the cost."""
        return self.cost + self.carried_in - self.recognised - self.breakage - self.voided - self.carried_out

    def since(self, earlier: "Revenue") -> "Revenue":
        """What came to it since then; signed: refunds may outweigh uses."""
        return Revenue(*(now - then for now, then in zip(self, earlier, strict=True)))


def counts_from(details: GrantDetails, begins_at: Instant) -> Instant | None:
    """From when on a grant counts; None: it does not, until its payment is recorded.

    The money is there from the payment on, also before the grant begins, and late: then all that became of the grant
    before counts at once. Of a grant whose payment the ledger does not await or follow, only its beginning is known.
    """
    return begins_at if details.payment.method is PaymentMethod.NONE else details.payment.paid_at


def revenue_of(price: Price, course: Course) -> Revenue:
    """What has become of a grant's cost. Nothing, while it does not count: an unpaid grant earns nothing and loses
    nothing.

    Used credits are revenue by their share of the cost. Once the grant has ended with credits that were lost, what was
    neither used nor rolled over is breakage, or void.
    """
    if not course.counts:
        return Revenue()
    recognised = price.share(course.used)
    lost = course.voided > 0 or course.lapsed > 0
    rest = price.cost - recognised - course.carried_out if lost else 0
    return Revenue(
        cost=0 if price.carried_on else price.cost,
        carried_in=price.cost if price.carried_on else 0,
        recognised=recognised,
        refunds=course.refunds,
        breakage=0 if course.voided else rest,
        voided=rest if course.voided else 0,
        carried_out=course.carried_out,
    )


def deferred_of(price: Price, course: Course) -> Money:
    """What of a grant's cost is still to be earned: the cost of the credits that are owed, whatever came before."""
    return price.cost - price.share(price.granted - course.owed) if course.counts else 0
