"""For processes of a test and their children: importing what ABSENT names fails as if it were not installed."""

import os
import sys

for name in os.environ["ABSENT"].split(","):
    sys.modules[name] = None  # type: ignore[assignment]  # that is how an import is forbidden
