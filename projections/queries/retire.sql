-- What has folded an event that is left out from now on can be pruned, and nothing else.
UPDATE projections SET stage = 'kept', replaced_by = NULL
WHERE name = %(name)s AND position >= %(position)s AND stage <> 'serving'
