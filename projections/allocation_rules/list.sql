-- The rules there were at a position, in order of their names. A rule's versions follow one another, so at most one of
-- each is found.
SELECT rule, name, account_groups, allocated, alarm_threshold, currency, created_at
FROM {table}
WHERE from_position <= %(position)s AND (until_position IS NULL OR until_position > %(position)s)
    AND (%(names)s::text[] IS NULL OR name = ANY (%(names)s::text[]))
    AND (%(groups)s::text[] IS NULL OR EXISTS (
        SELECT FROM unnest(account_groups) AS named (id) WHERE named.id = ANY (%(groups)s::text[]) -- hashed, && is not
    ))
    AND (%(after_name)s::text IS NULL OR (name, rule) > (%(after_name)s::text, %(after_rule)s::uuid))
ORDER BY name, rule
LIMIT %(limit)s
