-- While its revision is looked at, no operator changes an endpoint; no row: it is gone.
SELECT revision FROM webhook_endpoints WHERE id = %(id)s FOR SHARE
