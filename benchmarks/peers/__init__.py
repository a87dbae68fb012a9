"""Other servers that run the same program, each with a configuration of its own in a directory of its own."""
