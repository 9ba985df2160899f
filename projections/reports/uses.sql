-- Draws of uses in [start, end), and what came back of them at the instant of their use, dated up to the clock; of a
-- rule, those that name any of its account groups, in its currency.
SELECT moved.* FROM ({moved}) AS moved
WHERE debit_id IS NOT NULL AND effective_at <= %(effective_at)s
    AND (%(use_start)s::timestamptz IS NULL OR use_at >= %(use_start)s)
    AND (%(use_end)s::timestamptz IS NULL OR use_at < %(use_end)s)
    AND (%(of_resource)s::text IS NULL OR resource = %(of_resource)s)
    AND (%(groups)s::text[] IS NULL OR EXISTS (
        SELECT FROM unnest(account_groups) AS named (id) WHERE named.id = ANY (%(groups)s::text[]) -- hashed, && is not
    ))
