SELECT schedule, holder, currency, resource, plan, document_id FROM {table}
WHERE holder = %(holder)s AND plan ->> 'ended_at' IS NULL
