import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import nn, optim

TORCH = json.loads(Path(__file__).with_name("torch_steps.json").read_text())


def quadratic(p, dtype):
    d = p - np.array(TORCH["target"], dtype).reshape(p.shape)
    return (d * d * np.array(TORCH["weights"], dtype).reshape(p.shape)).sum()


# recorded by tools/record_torch_optim.py
@pytest.mark.parametrize("backend", ["kernels", "numpy"])
@pytest.mark.parametrize("run", TORCH["runs"], ids=lambda r: f"{r['optimizer']}-{r['options']}")
def test_steps_agree_with_torch(run, backend):
    with fastnn.use_backend(backend):
        for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
            p = fastnn.tensor(np.array(TORCH["start"], dtype).reshape(run["shape"]), requires_grad=True)
            optimizer = getattr(optim, run["optimizer"])([p], **run["options"])
            for _ in range(run["steps"]):
                optimizer.zero_grad()
                quadratic(p, dtype).backward()
                optimizer.step()
            np.testing.assert_allclose(p.detach().numpy(), run["result"], rtol=tolerance, atol=tolerance)
            state = optimizer.state.get(p, {})
            assert list(state) == list(run["state"])
            for name, value in run["state"].items():
                np.testing.assert_allclose(state[name].numpy(), value, rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 8191, 8192, 8193, 30000])
def test_any_length_gives_the_same_as_one_by_one(n):
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal((2, n)).astype("float32")
    whole = fastnn.tensor(start, requires_grad=True)
    parts = [fastnn.tensor(start[i : i + 7], requires_grad=True) for i in range(0, n, 7)]
    one, many = optim.Adam([whole]), optim.Adam(parts)
    for _ in range(2):
        whole.grad = fastnn.tensor(gradient)
        for i, p in enumerate(parts):
            p.grad = fastnn.tensor(gradient[i * 7 : i * 7 + 7])
        one.step()
        many.step()
    np.testing.assert_array_equal(whole.detach().numpy(), np.concatenate([p.detach().numpy() for p in parts]))


def test_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    start, gradient = rng.standard_normal((2, 100_000)).astype("float32")
    results = []
    for count in (1, 2, 3, 8):
        with fastnn.threads(count):
            p = fastnn.tensor(start, requires_grad=True)
            optimizer = optim.Adam([p])
            for _ in range(3):
                p.grad = fastnn.tensor(gradient)
                optimizer.step()
            results.append(p.detach().numpy().tobytes())
    assert len(set(results)) == 1


def test_any_layout_of_parameter_and_gradient():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((6, 8)).astype("float32")
    gradient = rng.standard_normal((6, 8)).astype("float32")
    wide = np.zeros((12, 8), "float32")
    wide[::2] = values
    layouts = [values.copy(), np.asfortranarray(values), wide[::2], values[::-1].copy()[::-1]]
    results = []
    for array in layouts:
        for g in (gradient, np.asfortranarray(gradient), np.ascontiguousarray(gradient[:, ::-1])[:, ::-1]):
            own = array.copy(order="K") if array.base is None else array
            kept = own.copy()
            p = nn.Parameter(own)
            p.grad = fastnn.from_numpy(g)
            optim.Adam([p]).step()
            assert np.shares_memory(p.detach().numpy(), own)
            results.append(own.copy())
            own[...] = kept
    for r in results:
        np.testing.assert_array_equal(r, results[0])


def test_parameters_without_gradient_are_left_alone():
    a = fastnn.tensor([1.0, 2.0], requires_grad=True)
    b = fastnn.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.Adam([a, b], lr=0.1)
    a.grad = fastnn.tensor([1.0, 1.0])
    optimizer.step()
    assert b.tolist() == [1, 2]
    assert b not in optimizer.state
    b.grad = fastnn.tensor([1.0, 1.0])
    optimizer.step()
    # the first step of Adam is lr in the gradient's direction, whatever others' count
    np.testing.assert_allclose(b.detach().numpy(), [0.9, 1.9], rtol=1e-6)
    assert optimizer.state[a]["step"] == 2
    assert optimizer.state[b]["step"] == 1


def test_hyper_parameters_are_read_at_every_step():
    p = fastnn.tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.5)
    p.grad = fastnn.tensor([1.0])
    optimizer.step()
    assert p.item() == 0.5
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert p.item() == 0.25


def test_groups_have_their_own_options():
    a, b = (fastnn.tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": b}], lr=0.1)
    a.grad, b.grad = fastnn.tensor([1.0]), fastnn.tensor([1.0])
    optimizer.step()
    np.testing.assert_allclose([a.item(), b.item()], [0.5, 0.9], rtol=1e-6)


def test_state_dict_round_trip_continues_the_same_run():
    def build():
        fastnn.random.manual_seed(1)
        model = nn.Linear(3, 2)
        return model, optim.Adam(model.parameters(), lr=0.1)

    def steps(model, optimizer, n):
        for i in range(n):
            optimizer.zero_grad()
            (model(np.full((4, 3), 0.1 * i, "float32")) * 1.5).sum().backward()
            optimizer.step()

    one, one_optimizer = build()
    steps(one, one_optimizer, 6)
    two, two_optimizer = build()
    steps(two, two_optimizer, 3)
    state = pickle.loads(pickle.dumps(two_optimizer.state_dict()))
    three, three_optimizer = build()
    three.load_state_dict(two.state_dict())
    three_optimizer.load_state_dict(state)
    for i in range(3, 6):
        three_optimizer.zero_grad()
        (three(np.full((4, 3), 0.1 * i, "float32")) * 1.5).sum().backward()
        three_optimizer.step()
    np.testing.assert_array_equal(one.weight.detach().numpy(), three.weight.detach().numpy())
    assert state["state"][0]["step"].item() == 3
    assert state["param_groups"][0]["params"] == [0, 1]


def test_closure_is_called_with_gradients_on():
    p = fastnn.tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with fastnn.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 4
    np.testing.assert_allclose(p.item(), 1.6, rtol=1e-6)


def test_a_step_raises_the_version_so_that_stale_graphs_are_seen():
    p = fastnn.tensor([2.0], requires_grad=True)
    loss = (p * p).sum()
    p.grad = fastnn.tensor([1.0])
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(fastnn.GraphError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: optim.SGD([p], lr=-1), ValueError),
        (lambda p: optim.SGD([p], lr=float("nan")), ValueError),
        (lambda p: optim.SGD([p], momentum=-0.1), ValueError),
        (lambda p: optim.SGD([p], nesterov=True), ValueError),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), ValueError),
        (lambda p: optim.Adam([p], eps=-1e-8), ValueError),
        (lambda p: optim.Adam([]), ValueError),
        (lambda p: optim.Adam(p), TypeError),
        (lambda p: optim.Adam([1.0]), TypeError),
        (lambda p: optim.Adam([p, p]), UserWarning),
        (lambda p: optim.Adam([p * 2]), ValueError),
        (lambda p: optim.Adam([{"params": [p]}, {"params": [p]}]), ValueError),
    ],
)
def test_bad_arguments(make, error):
    p = fastnn.tensor([1.0], requires_grad=True)
    with pytest.raises(error):
        make(p)


def test_load_state_dict_changes_nothing_when_it_does_not_fit():
    p = fastnn.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.Adam([p])
    p.grad = fastnn.tensor([1.0, 1.0])
    optimizer.step()
    good = copy.deepcopy(optimizer.state_dict())
    bad = copy.deepcopy(good)
    bad["state"][0]["exp_avg"] = fastnn.tensor([1.0, 2.0, 3.0])
    bad["param_groups"][0]["lr"] = 7.0
    with pytest.raises(ValueError, match="exp_avg must have the parameter's shape"):
        optimizer.load_state_dict(bad)
    assert optimizer.param_groups[0]["lr"] == 1e-3
    bad = copy.deepcopy(good)
    bad["param_groups"].append(bad["param_groups"][0])
    with pytest.raises(ValueError, match="expected 1 parameter groups, got 2"):
        optimizer.load_state_dict(bad)
    assert optimizer.state[p]["step"] == 1


def test_repr_lists_the_groups():
    text = repr(optim.SGD([fastnn.tensor([1.0], requires_grad=True)], lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n")
    assert "    lr: 0.5\n" in text


def test_a_step_that_raises_does_not_spoil_the_next():
    def leaf(array):
        return fastnn.from_numpy(array).requires_grad_()

    big, small = leaf(np.ones(90_000, "float32")), leaf(np.ones(5, "float32"))
    one = optim.SGD([big, small], lr=0.1)
    big.grad, small.grad = fastnn.tensor(np.ones(90_000, "float32")), fastnn.tensor(np.ones(5, "float32"))
    one.step()
    a, b = leaf(np.ones(3, "float32")), leaf(np.ones(10, "float32")[::2])
    two = optim.SGD([a, b], lr=0.1)
    a.grad, b.grad = fastnn.tensor(np.ones(3, "float32")), fastnn.tensor(np.ones(5, "float32"))
    two.step()
    for p in (big, small, a, b):
        np.testing.assert_allclose(p.detach().numpy(), 0.9, rtol=1e-6)


def test_lengths_that_change_between_steps():
    rng = np.random.default_rng(0)
    for sizes in [(2, 5), (4, 5), (4,), (9000, 1), (1, 9000), (3, 3, 3)]:
        parameters = [fastnn.tensor(rng.standard_normal(n).astype("float32"), requires_grad=True) for n in sizes]
        before = [p.detach().numpy().copy() for p in parameters]
        for p in parameters:
            p.grad = fastnn.tensor(np.ones(p.shape, "float32"))
        optim.SGD(parameters, lr=0.5).step()
        for p, b in zip(parameters, before, strict=True):
            np.testing.assert_array_equal(p.detach().numpy(), b - np.float32(0.5))


def test_an_empty_group_is_fine():
    p = fastnn.tensor([1.0], requires_grad=True)
    optimizer = optim.Adam([{"params": []}, {"params": [p]}], lr=0.1)
    p.grad = fastnn.tensor([1.0])
    optimizer.step()
    np.testing.assert_allclose(p.item(), 0.9, rtol=1e-6)


def test_running_means_settle_at_zero():
    for make in (lambda p: optim.Adam([p]), lambda p: optim.SGD([p], momentum=0.9)):
        for backend in ("kernels", "numpy"):
            with fastnn.use_backend(backend):
                p = fastnn.tensor([1.0, 1.0], requires_grad=True)
                optimizer = make(p)
                p.grad = fastnn.tensor([1e-30, 0.0])
                optimizer.step()
                p.grad = fastnn.tensor([0.0, 0.0])
                for _ in range(400):
                    optimizer.step()
                state = optimizer.state[p]
                mean = state.get("exp_avg", state.get("momentum_buffer"))
                assert mean.tolist() == [0, 0]
