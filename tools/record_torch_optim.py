"""Record what torch's optimizers compute, for the tests: ``python tools/record_torch_optim.py`` (needs torch).

Each run takes four float64 steps on a small quadratic; results and state go to tests/optim/torch_steps.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

START, TARGET, WEIGHTS, STEPS = [0.5, -1.25, 2.0, 0.0], [1.0, 0.25, -0.5, 3.0], [1.0, 2.0, 0.5, 0.001], 4
FILE = Path(__file__).parents[1] / "tests" / "optim" / "torch_steps.json"

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1, "momentum": 0.5}),
    ("SGD", {"lr": 0.01, "maximize": True}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.2}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": [0.8, 0.9], "eps": 0.001}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "maximize": True}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.2, "maximize": True}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.5, "amsgrad": True, "maximize": True}),
    ("Adamax", {"lr": 0.05}),
    ("Adamax", {"lr": 0.05, "betas": [0.8, 0.9], "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 0.01}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.05}),
    # its variance is tractable from the first steps on
    ("RAdam", {"lr": 0.05, "betas": [0.9, 0.99], "weight_decay": 0.1, "steps": 9}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "centered": True, "alpha": 0.9, "maximize": True}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.5, "eps": 0.01}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adagrad", {"lr": 0.1, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 0.001, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 1.0, "etas": [0.4, 1.5], "step_sizes": [0.01, 1.2]}),
    ("Rprop", {"lr": 0.1, "maximize": True}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 1, "weight_decay": 0.1, "maximize": True}),
]


def record(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """One run: its parameters at the end, and its state."""
    import torch

    options = dict(options)
    steps = options.pop("steps", STEPS)
    p = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    target, weights = (torch.tensor(v, dtype=torch.float64) for v in (TARGET, WEIGHTS))
    optimizer = getattr(torch.optim, name)([p], **options)
    for _ in range(steps):
        optimizer.zero_grad()
        ((p - target) ** 2 * weights).sum().backward()
        optimizer.step()
    state = {key: value.tolist() for key, value in optimizer.state[p].items()}
    return {"optimizer": name, "options": options, "steps": steps, "result": p.tolist(), "state": state}


if __name__ == "__main__":
    runs = [record(name, options) for name, options in RUNS]
    head = "".join(
        f' "{name}": {json.dumps(v)},\n' for name, v in (("start", START), ("target", TARGET), ("weights", WEIGHTS))
    )
    FILE.write_text("{\n" + head + ' "runs": [\n  ' + ",\n  ".join(map(json.dumps, runs)) + "\n ]\n}\n")
