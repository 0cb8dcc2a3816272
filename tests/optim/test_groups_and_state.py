"""Parameter groups, hooks, and state dicts that cross over to torch's form and back."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn.optim import optimizer as base
from fastnn.optim.hooks import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

NAMES = ["ASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop"]
EVERY = pytest.mark.parametrize("name", NAMES)
STATES = {
    "ASGD": ["step", "eta", "mu", "ax"],
    "SGD": ["momentum_buffer"],
    "Adadelta": ["step", "square_avg", "acc_delta"],
    "Adagrad": ["step", "sum"],
    "Adam": ["step", "exp_avg", "exp_avg_sq"],
    "AdamW": ["step", "exp_avg", "exp_avg_sq"],
    "Adamax": ["step", "exp_avg", "exp_inf"],
    "NAdam": ["step", "mu_product", "exp_avg", "exp_avg_sq"],
    "RAdam": ["step", "exp_avg", "exp_avg_sq"],
    "RMSprop": ["step", "square_avg"],
    "Rprop": ["step", "prev", "step_size"],
}


def make(name, params, **options):
    options = {"momentum": 0.9, **options} if name == "SGD" else options
    return getattr(optim, name)(params, **{"lr": 0.1, **options})


def leaf(values, dtype="float32"):
    return fastnn.tensor(np.array(values, dtype), requires_grad=True)


def steps(optimizer, count, start=0):
    """Steps with gradients that depend on the step's number alone."""
    for i in range(start, start + count):
        rng = np.random.default_rng(i)
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = fastnn.from_numpy(np.asarray(rng.standard_normal(p.shape)).astype(p.dtype))
        optimizer.step()


def in_torchs_form(state_dict):
    """Arrays as another library hands them over, steps as they were in old files."""

    class Foreign:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **kwargs):
            return self.array.__dlpack__(**kwargs)

        def __array__(self, dtype=None, copy=None):
            return np.array(self.array, dtype=dtype, copy=copy)

    state = {
        number: {k: (int(v) if k == "step" else Foreign(v.numpy().copy())) for k, v in own.items()}
        for number, own in state_dict["state"].items()
    }
    return {"state": state, "param_groups": copy.deepcopy(state_dict["param_groups"])}


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("carry", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d)), in_torchs_form])
def test_state_carries_a_run_on(name, dtype, carry):
    start = [[[0.5, -1.0], [2.0, 0.0]], 3.0, [1.0, 2.0, 3.0]]
    whole, first, second = ([leaf(v, dtype) for v in start] for _ in range(3))
    steps(make(name, whole), 6)
    one = make(name, first)
    steps(one, 3)
    state = carry(one.state_dict())
    for own, other in zip(second, first, strict=True):
        own.detach().copy_(other)
    two = make(name, second, lr=0.7)
    two.load_state_dict(state)
    assert two.param_groups[0]["lr"] == 0.1
    steps(two, 3, start=3)
    for own, other in zip(second, whole, strict=True):
        np.testing.assert_array_equal(own.detach().numpy(), other.detach().numpy())
    for p in second:
        assert list(two.state[p]) == STATES[name]
        for key, value in two.state[p].items():
            scalar = key in ("step", "eta", "mu", "mu_product")
            assert value.shape == (() if scalar else p.shape)
            assert value.dtype == (np.float32 if scalar else p.dtype)


@EVERY
def test_optimizers_can_be_copied_and_pickled(name):
    p = leaf([1.0, 2.0])
    optimizer = make(name, [p])
    steps(optimizer, 2)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (q,) = other.param_groups[0]["params"]
        assert q is not p
        assert q in other.state
        steps(other, 2, start=2)
    steps(optimizer, 2, start=2)
    np.testing.assert_array_equal(q.detach().numpy(), p.detach().numpy())
    assert repr(other) == repr(optimizer)


@EVERY
def test_half_precision_goes_by_the_reference(name):
    p, q = leaf([1.0, -2.0], "float16"), leaf([1.0, -2.0])
    options = {"eps": 1e-3} if name not in ("ASGD", "SGD", "Rprop") else {}
    for optimizer in (make(name, [p], **options), make(name, [q], **options)):
        steps(optimizer, 3)
    assert p.dtype == np.float16
    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=2e-2, atol=2e-2)


@EVERY
def test_dtypes_and_layouts_mix_in_a_group(name):
    rng = np.random.default_rng(0)
    whole = rng.standard_normal((6, 8))
    arrays = [whole, np.asfortranarray(whole), whole[::2, ::-1], whole[0, 0], whole[:0]]
    mixed = [fastnn.from_numpy(np.asarray(a).astype(d, order="K")) for a in arrays for d in ("float64", "float32")]
    apart = [fastnn.tensor(np.ascontiguousarray(p.numpy()).reshape(p.shape)) for p in mixed]
    gradients = [[rng.standard_normal(p.shape) for p in mixed] for _ in range(3)]
    together, alone = make(name, mixed), [make(name, [p]) for p in apart]
    for step in gradients:
        for p, q, g in zip(mixed, apart, step, strict=True):
            p.grad = fastnn.from_numpy(np.asarray(g, p.dtype))
            q.grad = fastnn.from_numpy(np.asarray(g, p.dtype))
        together.step()
        for optimizer in alone:
            optimizer.step()
    for p, q in zip(mixed, apart, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@EVERY
def test_parameters_that_join_later_start_anew(name):
    early, late, alone = leaf([1.0, 2.0]), leaf([1.0, 2.0]), leaf([1.0, 2.0])
    optimizer, other = make(name, [early]), make(name, [alone])
    steps(optimizer, 2)
    optimizer.add_param_group({"params": [late]})
    for i in range(2):
        early.grad = None
        for p in (late, alone):
            p.grad = fastnn.tensor(np.full(2, 0.5 + i, "float32"))
        optimizer.step()
        other.step()
    np.testing.assert_array_equal(late.detach().numpy(), alone.detach().numpy())


def test_names_are_kept_in_the_group():
    model = nn.Linear(2, 3)
    optimizer = optim.Adam(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["params"][0] is model.weight
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="all have names or none"):
        optimizer.add_param_group({"params": [leaf([1.0])]})
    with pytest.raises(ValueError, match="all have names or none"):
        optim.Adam([("a", leaf([1.0])), leaf([2.0])])
    with pytest.raises(TypeError, match="in an order"):
        optim.Adam([{"params": {leaf([1.0])}}])


def test_the_given_group_is_not_changed():
    given = {"params": [leaf([1.0])]}
    optim.SGD([given], lr=0.5)
    assert list(given) == ["params"]


def test_a_repeated_parameter_is_updated_twice():
    p, q = leaf([1.0]), leaf([1.0])
    with pytest.warns(UserWarning, match="twice"):
        optimizer = optim.Adam([p, p], lr=0.1)
    other = optim.Adam([q], lr=0.1)
    p.grad, q.grad = fastnn.tensor([1.0]), fastnn.tensor([1.0])
    optimizer.step()
    other.step()
    other.step()
    assert p.item() == q.item()
    assert optimizer.state[p]["step"].item() == 2


def test_a_computed_tensor_that_keeps_its_gradient_can_be_optimized():
    p = leaf([1.0]) * 2
    with pytest.raises(ValueError, match="leaf"):
        optim.SGD([p], lr=0.5)
    p.retain_grad()
    p.grad = fastnn.tensor([1.0])
    with fastnn.no_grad():
        optim.SGD([p], lr=0.5).step()
    assert p.item() == 1.5


def test_rates_and_betas_in_tensors():
    p, q = leaf([1.0]), leaf([1.0])
    rate = fastnn.tensor(0.5)
    one = optim.Adam([p], lr=rate, betas=(fastnn.tensor(0.8), fastnn.tensor([0.9])), eps=1e-3)
    two = optim.Adam([q], lr=0.5, betas=(float(np.float32(0.8)), float(np.float32(0.9))), eps=1e-3)
    for optimizer in (one, two):
        steps(optimizer, 2)
    assert p.item() == q.item()
    rate.fill_(0.0)
    steps(one, 1)
    assert p.item() == q.item()
    assert one.param_groups[0]["lr"] is rate


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda p: optim.SGD([p], lr=fastnn.tensor([0.1, 0.2])), ValueError, "SGD: lr must be one number"),
        (lambda p: optim.SGD([p], lr="fast"), TypeError, "SGD: lr must be a number"),
        (lambda p: optim.SGD([p], weight_decay=-1), ValueError, "SGD: weight_decay must be at least 0"),
        (lambda p: optim.SGD([p], fused=True, foreach=True), RuntimeError, "fused and foreach"),
        (lambda p: optim.Adam([p], fused=True, differentiable=True), RuntimeError, "fused and differentiable"),
        (lambda p: optim.Adam([p], lr=fastnn.tensor(0.1), foreach=True), ValueError, "lr must be a number"),
        (lambda p: optim.Adam([p], betas=(0.9, fastnn.tensor(0.9))), ValueError, "two numbers or two Tensors"),
        (lambda p: optim.Adam([p], betas=0.9), TypeError, "betas must be two numbers"),
        (lambda p: optim.AdamW([p], betas=(0.9, 1.0)), ValueError, r"AdamW: betas\[1\] must be from 0 to below 1"),
        (lambda p: optim.Adamax([p], eps=-1), ValueError, "Adamax: eps"),
        (lambda p: optim.NAdam([p], momentum_decay=-1), ValueError, "NAdam: momentum_decay"),
        (lambda p: optim.RAdam([p], lr=-1), ValueError, "RAdam: lr"),
        (lambda p: optim.RMSprop([p], momentum=-1), ValueError, "RMSprop: momentum"),
        (lambda p: optim.RMSprop([p], alpha=-1), ValueError, "RMSprop: alpha"),
        (lambda p: optim.Adagrad([p], lr_decay=-1), ValueError, "Adagrad: lr_decay"),
        (lambda p: optim.Adagrad([p], initial_accumulator_value=-1), ValueError, "initial_accumulator_value"),
        (lambda p: optim.Adadelta([p], rho=1.1), ValueError, "Adadelta: rho must be from 0 to 1"),
        (lambda p: optim.Rprop([p], etas=(0.5, 0.9)), ValueError, "Rprop: etas"),
        (lambda p: optim.Rprop([p], step_sizes=1), TypeError, "Rprop: step_sizes"),
        (lambda p: optim.ASGD([p], weight_decay=-1), ValueError, "ASGD: weight_decay"),
        (lambda p: optim.SGD(3), TypeError, "iterable of Tensors"),
        (lambda p: optim.SGD([{"lr": 0.1}]), ValueError, "must have 'params'"),
        (lambda p: optim.SGD([{"params": p}, p]), TypeError, "group must be a dict"),
        (lambda p: optim.SGD([fastnn.tensor([1])]), TypeError, "floating-point"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make(leaf([1.0]))


def test_zero_grad_keeps_or_drops():
    p, q = leaf([1.0]), leaf([1.0])
    optimizer = optim.SGD([p, q])
    p.grad = kept = fastnn.tensor([2.0])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is kept
    assert kept.item() == 0
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


def test_hooks_around_a_step():
    p = leaf([1.0])
    optimizer = optim.SGD([p], lr=0.5)
    seen = []
    with (
        register_optimizer_step_pre_hook(lambda o, a, k: seen.append("every pre")),
        register_optimizer_step_post_hook(lambda o, a, k: seen.append("every post")),
        optimizer.register_step_pre_hook(lambda o, a, k: ((lambda: seen.append("other closure"),), k)),
        optimizer.register_step_post_hook(lambda o, a, k: seen.append(len(a))),
    ):
        optimizer.step(lambda: seen.append("closure"))
        assert seen == ["every pre", "other closure", 1, "every post"]
    optimizer.step()
    assert len(seen) == 4
    handle = optimizer.register_step_pre_hook(lambda o, a, k: 3)
    with pytest.raises(RuntimeError, match=r"None or \(args, kwargs\)"):
        optimizer.step()
    handle.remove()
    handle.remove()
    optimizer.step()
    with pytest.raises(TypeError, match="callable"):
        optimizer.register_step_pre_hook(3)


def test_hooks_around_state():
    p = leaf([1.0])
    optimizer = optim.Adam([p])
    steps(optimizer, 1)
    seen = []
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("second"))
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 1})
    state = optimizer.state_dict()
    assert seen == ["first", "second"]
    assert state["more"] == 1
    optimizer.register_load_state_dict_pre_hook(lambda o, d: {**d, "param_groups": [{**d["param_groups"][0], "lr": 9}]})
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append(o.param_groups[0]["lr"]))
    optimizer.load_state_dict(state)
    assert seen[-1] == 9
    assert state["param_groups"][0]["lr"] == 1e-3


def test_an_optimizer_of_ones_own():
    class SignDescent(base.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {"lr": lr})

        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        with fastnn.no_grad():
                            p -= fastnn.from_numpy(np.sign(p.grad.numpy()) * np.float32(group["lr"]))
                        self.state[p]["sign"] = p.grad.numpy()[0] > 0

    p = leaf([1.0])
    optimizer = SignDescent([p])
    seen = []
    optimizer.register_step_post_hook(lambda o, a, k: seen.append(1))
    steps(optimizer, 2)
    assert seen == [1, 1]
    other = SignDescent([leaf([1.0])])
    other.load_state_dict(optimizer.state_dict())
    assert list(other.state_dict()["state"][0]) == ["sign"]
    with pytest.raises(NotImplementedError, match="neither a rule nor a step"):
        base.Optimizer([p], {}).step()


def test_state_of_the_wrong_form_is_refused():
    p = leaf([1.0, 2.0])
    optimizer = optim.NAdam([p])
    steps(optimizer, 1)
    good = optimizer.state_dict()
    for key, value in (("exp_avg", fastnn.tensor([1.0])), ("mu_product", fastnn.tensor([1.0, 2.0]))):
        bad = copy.deepcopy(good)
        bad["state"][0][key] = value
        with pytest.raises(ValueError, match=key):
            optimizer.load_state_dict(bad)
    with pytest.raises(TypeError, match="expected a dict"):
        optimizer.load_state_dict([])
    with pytest.raises(ValueError, match="'state' and 'param_groups'"):
        optimizer.load_state_dict({})
    optimizer.state[p]["mu_product"] = fastnn.tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="must be one element"):
        optimizer.step()
