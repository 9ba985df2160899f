SELECT position FROM projection_skips
WHERE name = %(name)s AND position > %(after)s AND position <= %(until)s
ORDER BY position
