-- What the balances are made of, in one pass over the whole log, as anybody would write it.
SELECT
    kind, holder, currency, resource,
    (sum(amount) FILTER (WHERE type = 'ledger.granted'))::numeric(38, 9) AS granted,
    (-sum(amount) FILTER (WHERE type = 'ledger.debited'))::numeric(38, 9) AS debited,
    (sum(amount) FILTER (WHERE type = 'ledger.refunded'))::numeric(38, 9) AS refunded,
    (-sum(amount) FILTER (WHERE type = 'ledger.voided'))::numeric(38, 9) AS voided,
    (-sum(amount) FILTER (WHERE type = 'ledger.expired'))::numeric(38, 9) AS expired,
    sum(amount)::numeric(38, 9) AS balance,
    max(position) AS position
FROM movements
WHERE amount IS NOT NULL
GROUP BY kind, holder, currency, resource
