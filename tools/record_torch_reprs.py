"""Write down how torch shows its modules, for ``tests/nn/test_repr.py``.

Needs torch. The calls are those in the file already: write a new one there with any text, and run

    python tools/record_torch_reprs.py
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import torch

PATH = Path(__file__).parents[1] / "tests" / "nn" / "torch_reprs.json"

if __name__ == "__main__":
    calls = json.loads(PATH.read_text())["reprs"]
    reprs = {call: repr(eval(call, {"nn": torch.nn, "OrderedDict": OrderedDict})) for call in sorted(calls)}
    PATH.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "reprs": reprs}, indent=1) + "\n")
