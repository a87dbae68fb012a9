"""Builds of modules: their commands, the files they are built from, and their toolchains."""
