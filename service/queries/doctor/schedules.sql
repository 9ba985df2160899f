-- Every schedule grants its parts in order, from its first one without a gap up to its end, each at its beginning with
-- its share of the plan. Parts are counted from 0 at the anchor and stepped from it by calendar months in UTC; the last
-- one of a billing period takes what equal shares leave.
WITH told AS MATERIALIZED (
    SELECT
        position, type, recorded_at, kind, holder, currency, resource,
        cause, grant_type, effective_at, lot_effective_at, lot_expires_at, amount, cost_amount,
        definition -> 'plan' AS plan,
        coalesce((grant_details #>> '{scheduled,schedule_id}')::uuid, stream_id) AS schedule_id,
        (grant_details #>> '{scheduled,part}')::integer AS part
    FROM movements
    WHERE type = 'ledger.grant-schedule-defined'
        OR (type = 'ledger.granted' AND (cause = 'SCHEDULED' OR grant_details -> 'scheduled' IS NOT NULL))
),
planned AS (
    SELECT
        *,
        first_value(plan) OVER whole AS first_plan,
        first_value((kind, holder, currency, resource)) OVER whole AS pool,
        count(plan) OVER before AS plans,
        count(plan ->> 'ended_at') OVER before AS ends,
        count(part) OVER before AS parts
    FROM told
    WINDOW
        whole AS (PARTITION BY schedule_id ORDER BY position),
        before AS (PARTITION BY schedule_id ORDER BY position ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW)
),
counted AS (
    SELECT
        *,
        (first_plan ->> 'anchor_at')::timestamptz AT TIME ZONE 'UTC' AS anchor,
        (first_plan ->> 'first_part')::integer + parts AS next_part,
        CASE
            WHEN first_plan ->> 'cadence' = 'MONTHLY' OR first_plan ->> 'billing_period' = 'MONTH' THEN 1 ELSE 12
        END AS months,
        CASE
            WHEN first_plan ->> 'cadence' = 'MONTHLY' AND first_plan ->> 'billing_period' = 'YEAR' THEN 12 ELSE 1
        END AS shares
    FROM planned
),
dated AS (
    SELECT
        *,
        (anchor + make_interval(months => (next_part * months)::integer)) AT TIME ZONE 'UTC' AS begins,
        (anchor + make_interval(months => ((next_part + 1) * months)::integer)) AT TIME ZONE 'UTC' AS ends_at,
        CASE WHEN next_part % shares = shares - 1 THEN shares - 1 END AS shares_before,
        (first_plan ->> 'amount')::numeric AS whole_amount,
        div((first_plan ->> 'amount')::numeric * 1000000000, shares) * 0.000000001 AS equal_amount,
        (first_plan #>> '{cost,amount}')::numeric AS whole_cost,
        div((first_plan #>> '{cost,amount}')::numeric * 1000000000, shares) * 0.000000001 AS equal_cost
    FROM counted
),
shared AS (
    SELECT
        *,
        coalesce(whole_amount - equal_amount * shares_before, equal_amount) AS due_amount,
        coalesce(whole_cost - equal_cost * shares_before, equal_cost) AS due_cost
    FROM dated
),
judged AS (
    SELECT
        position,
        concat('at position ', position, ' schedule ', schedule_id) || CASE
            WHEN plan IS NULL AND part IS NULL THEN ' has neither a plan nor a part'
            WHEN plan IS NULL AND plans = 0 THEN ' grants part ' || part || ', but it was not defined before'
            WHEN ends > 0 THEN ' goes on, though it has ended'
            WHEN (kind, holder, currency, resource) IS DISTINCT FROM pool THEN ' has another pool than at first'
            WHEN plan - 'ended_at' <> first_plan - 'ended_at' THEN ' has another plan than at first'
            WHEN begins <= (plan ->> 'ended_at')::timestamptz
                THEN ' ended, but its part ' || next_part || ' was not granted, which began at ' || begins
            WHEN part <> next_part THEN ' grants part ' || part || ', where part ' || next_part || ' should be'
            WHEN part IS NOT NULL AND recorded_at < begins
                THEN ' grants part ' || part || ', which begins only at ' || begins
            WHEN part IS NOT NULL AND (effective_at, lot_effective_at, lot_expires_at)
                IS DISTINCT FROM (begins, begins, ends_at)
                THEN concat(
                    ' grants part ', part, ' at ', effective_at, ', for ', lot_effective_at, ' to ', lot_expires_at,
                    ', but it lasts from ', begins, ' to ', ends_at
                )
            WHEN part IS NOT NULL AND (amount, cost_amount) IS DISTINCT FROM (due_amount, due_cost)
                THEN concat(
                    ' grants ', amount, ' at a cost of ', cost_amount, ' as part ', part, ', which has ', due_amount,
                    ' at ', due_cost
                )
            WHEN part IS NOT NULL AND (cause, grant_type) IS DISTINCT FROM ('SCHEDULED', 'SUBSCRIPTION')
                THEN concat(' grants part ', part, ' as ', cause, ', ', grant_type)
        END AS fault
    FROM shared
)
SELECT
    count(*) AS seen,
    count(fault) AS faults,
    (SELECT fault FROM judged WHERE fault IS NOT NULL ORDER BY position LIMIT 1) AS first_fault
FROM judged
