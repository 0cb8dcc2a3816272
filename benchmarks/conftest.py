"""The checkout goes to the end of the search path, so that the installed fastnn comes before the unbuilt one."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
