"""`python -m quiclb`."""

from quiclb.cli import main

main()
