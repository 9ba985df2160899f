-- The balances that events recorded of their lots.
SELECT lot, lot_balance FROM movements WHERE position = ANY (%(positions)s::bigint[])
