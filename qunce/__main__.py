"""`python -m qunce` is `qunce`."""

from qunce.cli import main

main()
