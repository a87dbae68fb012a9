"""Reference servers, each run as `python -m benchmarks.servers.NAME`."""
