"""Loops over a part of a request in this process, without a server."""
