"""Modules from OCI registries: pulled through oras, verified, and kept in a store."""
