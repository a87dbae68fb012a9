"""Spin's manifests as tables of a `modules.toml`."""
