SELECT transaction_id FROM events WHERE position = %(position)s
