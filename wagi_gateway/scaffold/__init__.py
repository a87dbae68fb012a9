"""New projects and modules from templates, which are data of this package."""
