SELECT secret FROM token_secret
