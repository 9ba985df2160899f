SELECT group_set, account_groups FROM {table} WHERE group_set = ANY (%(sets)s::uuid[])
