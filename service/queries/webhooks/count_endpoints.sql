SELECT count(*) AS endpoints FROM webhook_endpoints
