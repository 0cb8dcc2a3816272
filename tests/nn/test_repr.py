"""How modules show themselves, against torch's texts for the same calls (see tools/record_torch_reprs.py)."""

import json
from collections import OrderedDict
from pathlib import Path

import pytest

from fastnn import nn

REPRS = json.loads((Path(__file__).parent / "torch_reprs.json").read_text())["reprs"]


@pytest.mark.parametrize("call", REPRS)
def test_modules_show_themselves_as_in_torch(call):
    assert repr(eval(call, {"nn": nn, "OrderedDict": OrderedDict})) == REPRS[call]
