"""`rarn-edge`, and the same as `python -m rarn_edge`.

The command line is imported in `main`: Ctrl-C while it loads ends the program as it does later, without a traceback, and
worker processes, which import this module too, do not load it.
"""

import sys
from typing import NoReturn

from rarn_edge.errors import INTERRUPTED


def main() -> NoReturn:
    """Entry point."""
    try:
        from rarn_edge.cli import main as command
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command()


if __name__ == "__main__":
    main()
