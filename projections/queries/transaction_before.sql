-- Where the last transaction after %(after)s ends that has no event at %(position)s or later; none: %(after)s.
SELECT coalesce(max(transaction_last), %(after)s) AS ends_at
FROM movements
WHERE position > %(after)s AND position < %(position)s AND transaction_last < %(position)s
