-- The documents of debits, which all their events share; one without a document is missing.
SELECT DISTINCT debit_id, document_id FROM movements
WHERE debit_id = ANY (%(debits)s::uuid[]) AND type = 'ledger.debited' AND document_id IS NOT NULL
