"""`python -m wagi_gateway`."""

from .cli import main

main()
