-- When grants begin, as changes of them told last.
SELECT DISTINCT ON (lot) lot, lot_effective_at AS begins_at
FROM ({moved}) AS moved
WHERE type = 'ledger.grant-updated'
ORDER BY lot, position DESC
