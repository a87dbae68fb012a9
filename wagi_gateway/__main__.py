"""`python -m wagi_gateway`."""

from .cli.main import main

main()
