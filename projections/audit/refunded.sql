SELECT DISTINCT debit_id FROM movements
WHERE position <= %(until)s AND type = 'ledger.refunded' AND debit_id IS NOT NULL
