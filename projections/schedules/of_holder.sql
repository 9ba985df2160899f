SELECT schedule, holder, currency, resource, plan, document_id FROM {table}
WHERE holder = %(holder)s
ORDER BY position DESC
LIMIT %(limit)s
