SELECT configuration, holder, currency, settings, done, created_at, saved_at FROM {table}
WHERE holder = %(holder)s AND currency = %(currency)s
