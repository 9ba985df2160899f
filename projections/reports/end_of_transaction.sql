SELECT transaction_last, recorded_at FROM movements WHERE position = %(position)s
