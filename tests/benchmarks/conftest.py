"""The harness is not part of the wheel: it is imported from the checkout, whose unbuilt fastnn must come last."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))
