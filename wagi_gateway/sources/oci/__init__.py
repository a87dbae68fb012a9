"""Modules from OCI registries: pulled through oras, verified, and stored."""
