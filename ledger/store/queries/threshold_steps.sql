-- What may make a threshold reached: tagged uses and what came back of them, and what became of rules; in order.
SELECT
    position, transaction_id, recorded_at, type, stream_id, use_at, currency, account_groups, -amount AS used,
    data -> 'rule' AS rule, data ->> 'month' AS month
FROM events
WHERE position > %(after)s AND position <= %(until)s
    AND (account_groups IS NOT NULL OR kind = 'ALLOCATION_RULE')
ORDER BY position
