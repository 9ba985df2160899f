"""Usage by sets of account groups, folded by Python: in its day, hour and ten minutes, and each use by itself."""

from collections.abc import Sequence
from datetime import timedelta

from ledger.domain.credits import Credits
from ledger.domain.instants import FOREVER
from projections.group_sets.queries import NO_GROUPS
from projections.group_sets.replay import group_set_of
from projections.group_usage.windows import LENGTHS, Grain
from projections.replay import USES, EventRow, Replay, Rest
from projections.usage.windows import PointSize, unit_start

TEN_MINUTES = LENGTHS[Grain.TEN_MINUTES]


class GroupUsageReplay(Replay[Credits]):
    columns = ("grain", "bucket_at", "position", "currency", "group_set", "used")
    key_size = 5
    part_of_event = "extract(epoch FROM date_trunc('day', use_at, 'UTC'))::bigint / 86400"
    part_of_row = "extract(epoch FROM date_trunc('day', bucket_at, 'UTC'))::bigint / 86400"

    def take(self, stretch: Sequence[EventRow]) -> None:
        states = self.states
        day = hour = ten_minutes = FOREVER
        for event in stretch:
            if event.type not in USES:
                continue
            use_at, amount, groups = event.use_at, event.amount, event.account_groups
            assert use_at is not None
            assert amount is not None
            if not timedelta(0) <= use_at - ten_minutes < TEN_MINUTES:  # mostly one use follows the other
                ten_minutes = use_at.replace(minute=use_at.minute // 10 * 10, second=0, microsecond=0)
                hour, day = unit_start(use_at, PointSize.HOUR), unit_start(use_at, PointSize.DAY)
            used_by = (event.currency, NO_GROUPS if groups is None else group_set_of(groups))
            states["INSTANT", use_at, event.position, *used_by] = -amount
            for grain, bucket_at in (("DAY", day), ("HOUR", hour), ("TEN_MINUTES", ten_minutes)):
                bucket = (grain, bucket_at, None, *used_by)
                states[bucket] = states.get(bucket, 0) - amount

    def rest(self, state: Credits) -> Rest:
        return (state,)
