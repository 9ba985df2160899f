-- The sets that the window's uses name; of a refund it is its debit's, which is known. A log sorts the ids in a set.
INSERT INTO {table} (group_set, account_groups)
SELECT group_set_of(account_groups), account_groups
FROM (
    SELECT DISTINCT account_groups
    FROM movements
    WHERE position > %(after)s AND position <= %(until)s AND type = 'ledger.debited' AND account_groups IS NOT NULL
) AS named
ON CONFLICT (group_set) DO NOTHING
