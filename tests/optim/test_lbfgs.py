import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import optim
from fastnn.optim.line_search import Point, StrongWolfe, cubic_minimum

# recorded by tools/record_torch_optim.py
TORCH = json.loads(Path(__file__).with_name("torch_lbfgs.json").read_text())


def start(dtype="float64"):
    return [fastnn.tensor(np.array(v, dtype), requires_grad=True) for v in ([-1.2, 0.5], [1.0, -0.3])]


def rosenbrock(x, y):
    a, b = y - x * x, 1 - x
    return (100 * (a * a) + b * b).sum()


def quartic(x, y):
    a, b, c = x - 1, y + 0.5, x * y
    return (a * a + 2 * (b * b) + 0.3 * (c * c) + 0.1 * (x * x * x * x)).sum()


FUNCTIONS = {"rosenbrock": rosenbrock, "quartic": quartic}


def closure_of(optimizer, function, *params):
    def closure():
        optimizer.zero_grad()
        loss = function(*params)
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("run", TORCH["runs"], ids=lambda r: f"{r['function']}-{r['options']}")
def test_steps_agree_with_torch(run, backend):
    with fastnn.use_backend(backend):
        x, y = start()
        optimizer = optim.LBFGS([x, y], **run["options"])
        closure = closure_of(optimizer, FUNCTIONS[run["function"]], x, y)
        losses = [optimizer.step(closure).item() for _ in range(3)]
    np.testing.assert_allclose(losses, run["losses"], rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose([*x.tolist(), *y.tolist()], run["x"] + run["y"], rtol=1e-7)
    state = optimizer.state[x]
    assert [state["func_evals"], state["n_iter"], len(state["old_dirs"])] == [
        run["func_evals"],
        run["n_iter"],
        run["history"],
    ]
    assert list(optimizer.state) == [x]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_it_finds_the_least_squares(dtype, search):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((30, 6)).astype(dtype), rng.standard_normal((30, 2)).astype(dtype)
    # the weights lie in memory in another order, and a part of them is a tensor of its own
    w = fastnn.from_numpy(np.zeros((2, 5), dtype).T).requires_grad_()
    last = fastnn.tensor(np.zeros((1, 2), dtype), requires_grad=True)
    optimizer = optim.LBFGS([w, last], lr=0.5 if search is None else 1, line_search_fn=search, max_iter=60)

    def loss(w, last):
        error = fastnn.from_numpy(a[:, :5]) @ w + fastnn.from_numpy(a[:, 5:]) @ last - fastnn.from_numpy(b)
        return (error * error).mean()

    optimizer.step(closure_of(optimizer, loss, w, last))
    found = np.concatenate([w.detach().numpy(), last.detach().numpy()])
    exact = dtype == "float64" and search is not None
    np.testing.assert_allclose(found, np.linalg.lstsq(a, b)[0], rtol=0, atol=1e-5 if exact else 2e-3)


def test_parameters_without_gradient_and_of_other_dtypes():
    x, y = start()
    idle = fastnn.tensor([3.0], requires_grad=True)
    x32 = fastnn.tensor(np.array([-1.2, 0.5], "float32"), requires_grad=True)
    one, two = optim.LBFGS([x, y], max_iter=4), optim.LBFGS([x32, idle, y32 := start("float32")[1]], max_iter=4)
    one.step(closure_of(one, quartic, x, y))
    two.step(closure_of(two, quartic, x32, y32))
    np.testing.assert_allclose(x32.tolist(), x.tolist(), rtol=1e-4)
    assert idle.item() == 3
    mixed, (a, b) = start("float32")[0], start()
    three = optim.LBFGS([mixed, b], max_iter=2)
    a.grad = None

    def closure():
        mixed.grad, b.grad = fastnn.tensor([1.0, 1.0]), fastnn.tensor(np.ones(2))
        return fastnn.tensor(1.0)

    three.step(closure)
    assert (mixed.dtype, b.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("carry", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_state_carries_a_run_on(carry):
    whole, halves = start(), start()
    optimizer = optim.LBFGS(whole, max_iter=3)
    closure = closure_of(optimizer, quartic, *whole)
    for _ in range(3):
        optimizer.step(closure)
    one = optim.LBFGS(halves, max_iter=3)
    one.step(closure_of(one, quartic, *halves))
    two = optim.LBFGS(halves, lr=0.1)
    two.load_state_dict(carry(one.state_dict()))
    for _ in range(2):
        two.step(closure_of(two, quartic, *halves))
    for own, other in zip(halves, whole, strict=True):
        np.testing.assert_array_equal(own.detach().numpy(), other.detach().numpy())
    assert list(two.state[halves[0]])[:2] == ["func_evals", "n_iter"]


def test_it_stops_where_nothing_is_to_be_gained():
    x = fastnn.tensor([1.0], requires_grad=True)
    optimizer = optim.LBFGS([x])
    optimizer.step(closure_of(optimizer, lambda x: ((x - 1) * (x - 1)).sum(), x))
    assert optimizer.state[x]["func_evals"] == 1
    nothing = fastnn.tensor(np.zeros(0, "float32"), requires_grad=True)
    optimizer = optim.LBFGS([nothing])
    assert optimizer.step(closure_of(optimizer, lambda x: x.sum(), nothing)).item() == 0


def test_bad_arguments():
    x, y = start()
    with pytest.raises(ValueError, match="one parameter group"):
        optim.LBFGS([{"params": [x]}, {"params": [y]}])
    with pytest.raises(ValueError, match="lr"):
        optim.LBFGS([x], lr=-1)
    with pytest.raises(TypeError, match="closure"):
        optim.LBFGS([x]).step()
    with pytest.raises(RuntimeError, match="line_search_fn must be"):
        optim.LBFGS([x], line_search_fn="armijo").step(lambda: x.sum())


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda t: (t - 2) ** 2, lambda t: 2 * (t - 2)),
        # wavy: More and Thuente (1994), with minima that do not count
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),
        (lambda t: math.cosh(t - 3) + math.sin(3 * t), lambda t: math.sinh(t - 3) + 3 * math.cos(3 * t) - 20),
    ],
)
def test_the_search_finds_the_strong_wolfe_conditions(function, slope, first):
    if slope(0.0) < -20:
        function = lambda t, f=function: f(t) - 20 * t  # noqa: E731
    gradient = np.zeros(1)
    points = []

    def evaluate(t):
        points.append(t)
        return Point(t, function(t), gradient, slope(t))

    origin = Point(0.0, function(0.0), gradient, slope(0.0))
    search = StrongWolfe(evaluate, origin, 1.0, 1e-9, 25)
    found = search.search(first)
    assert found.loss <= origin.loss + 1e-4 * found.t * origin.slope
    assert abs(found.slope) <= 0.9 * abs(origin.slope)
    assert search.count == len(points) <= 26


def test_cubics():
    gradient = np.zeros(1)
    # t³ - 3t has its minimum at 1
    cubic = [Point(t, t**3 - 3 * t, gradient, 3 * t * t - 3) for t in (0.0, 2.5)]
    np.testing.assert_allclose(cubic_minimum(*cubic), 1.0)
    np.testing.assert_allclose(cubic_minimum(*cubic[::-1]), 1.0)
    assert cubic_minimum(*cubic, (1.5, 2.0)) == 1.5
    assert cubic_minimum(cubic[0], cubic[0]) == 0.0
    falling = [Point(t, -t, gradient, -1.0) for t in (0.0, 2.0)]
    assert cubic_minimum(*falling) in (1.0, 2.0)
    lost = [Point(0.0, 1.0, gradient, -1.0), Point(2.0, math.nan, gradient, math.nan)]
    assert cubic_minimum(*lost) == 1.0
