"""Kubernetes Pod manifests of Krustlet's WAGI nodes, converted to the tables of a `modules.toml`."""
