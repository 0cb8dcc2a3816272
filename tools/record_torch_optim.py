"""Record what torch's optimizers compute, for the tests: ``python tools/record_torch_optim.py`` (needs torch).

Each run takes a few float64 steps on a small quadratic; results and state go to tests/optim/torch_steps.json. Each
schedule takes 24 steps on two parameter groups; its rates and momenta go to tests/optim/torch_schedules.json. What
L-BFGS does goes to tests/optim/torch_lbfgs.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

START, TARGET, WEIGHTS, STEPS = [0.5, -1.25, 2.0, 0.0], [1.0, 0.25, -0.5, 3.0], [1.0, 2.0, 0.5, 0.001], 4
FOLDER = Path(__file__).parents[1] / "tests" / "optim"

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
    ("Adafactor", {}),
    ("Adafactor", {"shape": [2, 2], "steps": 6}),
    ("Adafactor", {"shape": [1, 4, 1], "lr": 0.5, "beta2_decay": -0.5, "weight_decay": 0.1, "maximize": True}),
    ("Adafactor", {"shape": [2, 2], "lr": 0.5, "eps": [0.5, 0.1], "d": 2.0}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 1, "weight_decay": 0.1, "maximize": True}),
]


def record(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """One run: its parameters at the end, and its state."""
    import torch

    options = dict(options)
    steps, shape = options.pop("steps", STEPS), options.pop("shape", [4])
    p, target, weights = (torch.tensor(v, dtype=torch.float64).reshape(shape) for v in (START, TARGET, WEIGHTS))
    p.requires_grad_()
    optimizer = getattr(torch.optim, name)([p], **options)
    for _ in range(steps):
        optimizer.zero_grad()
        ((p - target) ** 2 * weights).sum().backward()
        optimizer.step()
    state = {key: value.tolist() for key, value in optimizer.state[p].items()}
    return {
        "optimizer": name, "options": options, "steps": steps, "shape": shape, "result": p.tolist(), "state": state
    }  # fmt: skip


# name of the function of the step's number, arguments; the list of schedules within others
FUNCTIONS: dict[str, Callable[[int], float]] = {"falling": lambda t: 0.9**t, "rising": lambda t: 1 + 0.1 * t}
Spec = tuple[str, dict[str, Any]]
SCHEDULES: list[Spec] = [
    ("LambdaLR", {"lr_lambda": "falling"}),
    ("LambdaLR", {"lr_lambda": ["falling", "rising"]}),
    ("MultiplicativeLR", {"lr_lambda": ["falling", "rising"]}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 1, "gamma": 0.7}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 11], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 8}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 10}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("PolynomialLR", {}),
    ("PolynomialLR", {"total_iters": 15, "power": 2.5}),
    ("CosineAnnealingLR", {"T_max": 7}),
    ("CosineAnnealingLR", {"T_max": 1, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.001}),
    ("CosineAnnealingWarmRestarts", {"T_0": 5}),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 2, "eta_min": 0.001}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4}),
    ("CyclicLR", {"base_lr": [0.01, 0.02], "max_lr": [0.1, 0.3], "step_size_up": 3, "step_size_down": 5,
                  "mode": "triangular2", "base_momentum": 0.5}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "mode": "exp_range", "gamma": 0.9,
                  "cycle_momentum": False}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4, "scale_fn": "falling",
                  "scale_mode": "iterations"}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 30}),
    ("OneCycleLR", {"max_lr": [0.3, 0.1], "epochs": 5, "steps_per_epoch": 5, "anneal_strategy": "linear",
                    "pct_start": 0.4, "div_factor": 10.0}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 24, "three_phase": True, "final_div_factor": 100.0}),
    ("ReduceLROnPlateau", {"patience": 1}),
    ("ReduceLROnPlateau", {"patience": 0, "mode": "max", "factor": 0.5, "threshold": 0.1, "threshold_mode": "abs",
                           "cooldown": 2, "min_lr": [0.01, 0.001]}),
    ("SWALR", {"swa_lr": 0.05}),
    ("SWALR", {"swa_lr": [0.05, 0.2], "anneal_epochs": 5, "anneal_strategy": "linear"}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 0}),
    ("SequentialLR", {"milestones": [4, 9], "schedulers": [
        ["ConstantLR", {"factor": 0.1, "total_iters": 3}], ["ExponentialLR", {"gamma": 0.9}],
        ["CosineAnnealingLR", {"T_max": 6}]]}),
    ("SequentialLR", {"milestones": [5], "schedulers": [
        ["LinearLR", {"start_factor": 0.2, "total_iters": 5}],
        ["CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2}]]}),
    ("ChainedScheduler", {"schedulers": [
        ["ConstantLR", {"factor": 0.1, "total_iters": 4}], ["ExponentialLR", {"gamma": 0.9}],
        ["StepLR", {"step_size": 5}]]}),
]  # fmt: skip
METRICS = [3.0, 2.0, 2.0, 2.1, 1.9999, 1.0, 1.0, 1.2, 1.1, 0.999, 0.5, 0.7]
METRICS += [0.9, 1.3, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4, 2.0, 2.0, 1.0, 0.3]


def build(optimizer: Any, name: str, arguments: dict[str, Any]) -> Any:
    """Make a schedule of torch's."""
    from torch.optim import lr_scheduler, swa_utils

    arguments = dict(arguments)
    for key in ("lr_lambda", "scale_fn"):
        if key in arguments:
            given = arguments[key]
            arguments[key] = [FUNCTIONS[f] for f in given] if isinstance(given, list) else FUNCTIONS[given]
    if "schedulers" in arguments:
        arguments["schedulers"] = [build(optimizer, *spec) for spec in arguments["schedulers"]]
    if name == "SWALR":
        return swa_utils.SWALR(optimizer, **arguments)
    return getattr(lr_scheduler, name)(optimizer=optimizer, **arguments)


def record_schedule(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Rates and momenta of both groups at first and after each step."""
    import torch

    first, second = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": first}, {"params": second, "lr": 0.02}], lr=0.1, momentum=0.9)
    schedule = build(optimizer, name, arguments)
    steps = []
    for metric in [None, *METRICS]:
        if metric is not None:
            optimizer.step()
            schedule.step(*([metric] if name == "ReduceLROnPlateau" else []))
        steps.append([(group["lr"], group["momentum"]) for group in optimizer.param_groups])
    return {"schedule": name, "arguments": arguments, "steps": steps}


LBFGS_RUNS: list[dict[str, Any]] = [
    {"function": "quartic"},
    {"function": "quartic", "lr": 0.5, "max_iter": 4},
    {"function": "quartic", "max_iter": 3, "history_size": 2},
    {"function": "quartic", "tolerance_grad": 0.5, "max_iter": 3},
    {"function": "quartic", "tolerance_change": 0.1, "max_iter": 6},
    {"function": "quartic", "line_search_fn": "strong_wolfe"},
    {"function": "rosenbrock", "line_search_fn": "strong_wolfe"},
    {"function": "rosenbrock", "line_search_fn": "strong_wolfe", "lr": 0.3, "max_iter": 5},
    {"function": "rosenbrock", "line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 8, "max_eval": 9},
]


def record_lbfgs(options: dict[str, Any]) -> dict[str, Any]:
    """Three steps in two parameters: losses, parameters, and how often the function was computed."""
    import torch

    options = dict(options)
    function = options.pop("function")
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([-1.2, 0.5], [1.0, -0.3]))
    optimizer = torch.optim.LBFGS([x, y], **options)

    def closure() -> Any:
        optimizer.zero_grad()
        if function == "rosenbrock":
            loss = (100 * (y - x * x) ** 2 + (1 - x) ** 2).sum()
        else:
            loss = ((x - 1) ** 2 + 2 * (y + 0.5) ** 2 + 0.3 * (x * y) ** 2 + 0.1 * x**4).sum()
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(3)]
    state = optimizer.state[x]
    return {
        "function": function, "options": options, "losses": losses, "x": x.tolist(), "y": y.tolist(),
        "func_evals": state["func_evals"], "n_iter": state["n_iter"], "history": len(state["old_dirs"]),
    }  # fmt: skip


def write(file: str, head: dict[str, Any], key: str, rows: list[dict[str, Any]]) -> None:
    """Write JSON with a line for each row."""
    lines = "".join(f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in head.items())
    body = ",\n  ".join(map(json.dumps, rows))
    (FOLDER / file).write_text(f"{{\n{lines} {json.dumps(key)}: [\n  {body}\n ]\n}}\n")


if __name__ == "__main__":
    head = {"start": START, "target": TARGET, "weights": WEIGHTS}
    write("torch_steps.json", head, "runs", [record(*run) for run in RUNS])
    write("torch_schedules.json", {"metrics": METRICS}, "schedules", [record_schedule(*spec) for spec in SCHEDULES])
    write("torch_lbfgs.json", {}, "runs", [record_lbfgs(options) for options in LBFGS_RUNS])
