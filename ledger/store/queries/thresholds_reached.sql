-- For which months thresholds were recorded, by rule.
SELECT value, stream_id FROM claims WHERE kind = 'THRESHOLD'
