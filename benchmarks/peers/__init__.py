"""Other servers that run the same program, each with its own configuration and directory."""
