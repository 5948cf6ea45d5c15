"""`python -m rarn_edge`: the same as the command `rarn-edge`."""

from rarn_edge.cli import main

main()
