"""HTTP messages: request bodies, response framing, spools and static files."""
