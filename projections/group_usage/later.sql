-- What was used in a window by uses that were recorded in (position, until].
SELECT
    currency,
    coalesce(group_set_of(account_groups), '00000000-0000-0000-0000-000000000000') AS group_set,
    -sum(amount)::numeric(38, 9) AS used
FROM movements
WHERE position > %(position)s AND position <= %(until)s AND type IN ('ledger.debited', 'ledger.refunded')
    AND position NOT IN (SELECT position FROM projection_skips WHERE name = 'group_usage')
    AND use_at >= %(start)s AND (%(end)s::timestamptz IS NULL OR use_at < %(end)s)
GROUP BY 1, 2
