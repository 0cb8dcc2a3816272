import copy
import json
import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import optim
from fastnn.optim import lr_scheduler, swa_utils

# recorded by tools/record_torch_optim.py
TORCH = json.loads(Path(__file__).with_name("torch_schedules.json").read_text())
FUNCTIONS = {"falling": lambda t: 0.9**t, "rising": lambda t: 1 + 0.1 * t}


def make_optimizer(lr=0.1):
    first, second = (fastnn.tensor([0.0], requires_grad=True) for _ in range(2))
    return optim.SGD([{"params": first}, {"params": second, "lr": 0.02}], lr=lr, momentum=0.9)


def build(optimizer, name, arguments):
    arguments = dict(arguments)
    for key in {"lr_lambda", "scale_fn"} & arguments.keys():
        given = arguments[key]
        arguments[key] = [FUNCTIONS[f] for f in given] if isinstance(given, list) else FUNCTIONS[given]
    if "schedulers" in arguments:
        arguments["schedulers"] = [build(optimizer, *spec) for spec in arguments["schedulers"]]
    if name == "SWALR":
        return swa_utils.SWALR(optimizer, **arguments)
    return getattr(lr_scheduler, name)(optimizer=optimizer, **arguments)


def walk(optimizer, schedule, metrics):
    optimizer.step()
    for metric in metrics:
        schedule.step(*([metric] if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) else []))
        yield [(group["lr"], group["momentum"]) for group in optimizer.param_groups]


RUNS = pytest.mark.parametrize("run", TORCH["schedules"], ids=lambda r: f"{r['schedule']}-{r['arguments']}")


@RUNS
def test_rates_agree_with_torch_step_by_step(run):
    optimizer = make_optimizer()
    schedule = build(optimizer, run["schedule"], run["arguments"])
    found = [[(group["lr"], group["momentum"]) for group in optimizer.param_groups]]
    found += walk(optimizer, schedule, TORCH["metrics"])
    np.testing.assert_allclose(found, run["steps"], rtol=1e-12, atol=1e-15)
    assert schedule.get_last_lr() == [group["lr"] for group in optimizer.param_groups]


@RUNS
def test_a_schedule_goes_on_from_its_state(run):
    optimizer = make_optimizer()
    schedule = build(optimizer, run["schedule"], run["arguments"])
    list(walk(optimizer, schedule, TORCH["metrics"][:7]))
    state = pickle.loads(pickle.dumps(schedule.state_dict()))
    kept = pickle.loads(pickle.dumps(optimizer.state_dict()))
    other = make_optimizer()
    resumed = build(other, run["schedule"], run["arguments"])
    resumed.load_state_dict(state)
    other.load_state_dict(kept)
    assert resumed.last_epoch == schedule.last_epoch if hasattr(schedule, "last_epoch") else True
    found = list(walk(other, resumed, TORCH["metrics"][7:]))
    np.testing.assert_allclose(found, run["steps"][8:], rtol=1e-12, atol=1e-15)


@RUNS
def test_a_rate_in_a_tensor_stays_that_tensor(run):
    rate = fastnn.tensor(np.array(0.1))
    optimizer = make_optimizer(rate)
    schedule = build(optimizer, run["schedule"], run["arguments"])
    found = [[(float(group["lr"]), group["momentum"]) for group in optimizer.param_groups]]
    found += [[(float(lr), m) for lr, m in step] for step in walk(optimizer, schedule, TORCH["metrics"])]
    np.testing.assert_allclose(found, run["steps"], rtol=1e-12, atol=1e-15)
    assert optimizer.param_groups[0]["lr"] is rate
    assert schedule.get_last_lr()[0] is not rate


def test_a_function_object_keeps_its_attributes():
    class Falling:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, t):
            return self.factor**t

    optimizer = make_optimizer()
    state = lr_scheduler.LambdaLR(optimizer, Falling(0.5)).state_dict()
    assert state["lr_lambdas"] == [{"factor": 0.5}, {"factor": 0.5}]
    resumed = lr_scheduler.LambdaLR(make_optimizer(), Falling(0.1))
    resumed.load_state_dict(state)
    assert resumed.lr_lambdas[0].factor == 0.5
    assert lr_scheduler.LambdaLR(optimizer, math.exp).state_dict()["lr_lambdas"] == [None, None]


def test_last_epoch_needs_the_first_rates():
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(make_optimizer(), 2, last_epoch=3)
    optimizer = make_optimizer()
    for group in optimizer.param_groups:
        group["initial_lr"] = 0.5
    schedule = lr_scheduler.CosineAnnealingLR(optimizer, 10, last_epoch=4)
    assert schedule.last_epoch == 5
    assert schedule.base_lrs == [0.5, 0.5]


@pytest.mark.parametrize("name", ["StepLR", "ExponentialLR", "LinearLR", "PolynomialLR", "MultiStepLR", "ConstantLR"])
def test_a_jump_gives_what_steps_give(name):
    arguments = {"StepLR": {"step_size": 3}, "ExponentialLR": {"gamma": 0.9}, "MultiStepLR": {"milestones": [2, 4]}}
    one, two = make_optimizer(), make_optimizer()
    stepping, jumping = (build(o, name, arguments.get(name, {})) for o in (one, two))
    one.step()
    two.step()
    for _ in range(4):
        stepping.step()
    with pytest.warns(UserWarning, match="epoch is deprecated"):
        jumping.step(4)
    np.testing.assert_allclose(jumping.get_last_lr(), stepping.get_last_lr(), rtol=1e-12)


def test_restarts_take_parts_of_epochs():
    optimizer = make_optimizer()
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=4, T_mult=2)
    for epoch, cosine in ((1.5, 1.5 / 4), (4.0, 0.0), (10.0, 6 / 8), (13.0, 1 / 16)):
        schedule.step(epoch)
        np.testing.assert_allclose(schedule.get_last_lr()[0], 0.1 * (1 + math.cos(math.pi * cosine)) / 2)
    with pytest.raises(ValueError, match="epoch must not be negative"):
        schedule.step(-1)


def test_a_schedule_before_the_first_step_is_warned_of():
    optimizer = make_optimizer()
    schedule = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="before the optimizer's step"):
        schedule.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        schedule.get_lr()
    # steps from before the schedule do not count
    optimizer = make_optimizer()
    optimizer.step()
    schedule = lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="before the optimizer's step"):
        schedule.step()
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lr_scheduler.ExponentialLR(optimizer, 0.9).step()


def test_adam_cycles_its_first_beta():
    p = fastnn.tensor([1.0], requires_grad=True)
    optimizer = optim.Adam([p], betas=(0.7, 0.99))
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.99)
    optimizer.step()
    schedule.step()
    assert 0.85 < optimizer.param_groups[0]["betas"][0] < 0.95


def test_one_cycle_ends():
    optimizer = make_optimizer()
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    optimizer.step()
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="beyond the 3"):
        schedule.step()


def test_a_group_that_comes_later_needs_a_least_rate():
    optimizer = make_optimizer()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.0])
    optimizer.add_param_group({"params": fastnn.tensor([0.0], requires_grad=True)})
    schedule.step(1.0)
    with pytest.raises(RuntimeError, match="set min_lrs anew"):
        schedule.step(1.0)


def test_a_schedule_can_be_copied_with_its_optimizer():
    optimizer = make_optimizer()
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    other = copy.deepcopy(schedule)
    other.optimizer.step()
    other.step()
    assert other.get_last_lr()[0] == 0.05
    assert optimizer.param_groups[0]["lr"] == 0.1


def sequence(optimizer, *milestones):
    both = [lr_scheduler.StepLR(optimizer, 2), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    return lr_scheduler.SequentialLR(optimizer, both, list(milestones))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda o: lr_scheduler.StepLR(o.param_groups, 2), TypeError),
        (lambda o: lr_scheduler.LambdaLR(o, [FUNCTIONS["falling"]]), ValueError),
        (lambda o: lr_scheduler.MultiplicativeLR(o, 0.5), TypeError),
        (lambda o: lr_scheduler.ConstantLR(o, factor=1.5), ValueError),
        (lambda o: lr_scheduler.LinearLR(o, start_factor=0), ValueError),
        (lambda o: lr_scheduler.LinearLR(o, end_factor=1.1), ValueError),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=0), ValueError),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=2, T_mult=0.5), ValueError),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="square"), ValueError),
        (lambda o: lr_scheduler.CyclicLR(o, [0.1], 0.2), ValueError),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), ValueError),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=1.5), ValueError),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=5, pct_start=2.0), ValueError),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=5, anneal_strategy="root"), ValueError),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="most"), ValueError),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), ValueError),
        (lambda o: sequence(o, 1, 2), ValueError),
        (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(o)]), ValueError),
        (lambda o: lr_scheduler.ChainedScheduler([sequence(o, 1), sequence(make_optimizer(), 1)]), ValueError),
        (lambda o: lr_scheduler.ChainedScheduler([0.5]), TypeError),
        (lambda o: swa_utils.SWALR(o, 0.1, anneal_strategy="root"), ValueError),
        (lambda o: swa_utils.SWALR(o, 0.1, anneal_epochs=-1), ValueError),
    ],
)
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make(make_optimizer())


def test_cycles_need_a_momentum():
    optimizer = optim.Adagrad([fastnn.tensor([1.0], requires_grad=True)])
    with pytest.raises(ValueError, match="cycle_momentum"):
        lr_scheduler.CyclicLR(optimizer, 0.1, 0.2)
