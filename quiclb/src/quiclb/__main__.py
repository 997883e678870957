"""`python -m quiclb`."""

from quiclb.cli.main import main

main()
