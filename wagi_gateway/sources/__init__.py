"""The sources of modules: a module reference becomes bytes and their digest."""
