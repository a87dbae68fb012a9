"""Kubernetes Pod manifests: what Krustlet's WAGI nodes ran becomes the tables of a `modules.toml`."""
