"""A request's way through the gateway: generation, admission, exchange, delivery and reload."""
