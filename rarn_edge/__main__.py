"""`python -m rarn_edge`: the same as the command `rarn-edge`."""

from rarn_edge.cli import main

if __name__ == "__main__":  # worker processes import this module too
    main()
