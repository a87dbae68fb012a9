"""Sources of modules that need a compiler or an interpreter, and the fetching of those that others published."""
