SELECT rule, name, account_groups, allocated, alarm_threshold, currency, created_at
FROM {table} WHERE rule = %(rule)s AND until_position IS NULL
