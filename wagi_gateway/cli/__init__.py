"""The command line: `serve`, `check`, `routes`, `run`, `convert`, `schema`, and the commands for registries."""
