"""A module reference becomes bytes and their digest."""
