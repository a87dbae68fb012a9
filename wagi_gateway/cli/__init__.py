"""The commands: `serve`, `check`, `routes`, `run`, and those about registries."""
