"""The configuration: `modules.toml`, Pod manifests and environment files as frozen models."""
