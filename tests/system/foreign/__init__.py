"""Modules that need a compiler or an interpreter, and published modules, which the tests download."""
