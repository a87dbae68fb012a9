"""The results as a table, as charts and as docs/performance.md."""
