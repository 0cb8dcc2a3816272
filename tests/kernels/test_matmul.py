"""The matrix product against exact chains of FMAs, over tile edges, strides, epilogues and ways of cutting."""

import itertools
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from fastnn._kernels import cpu
from fastnn._kernels.matmul import table
from fastnn._kernels.matmul.plan import Step, product
from fastnn.testing.phases import Execution, lowering, run

DTYPES = ("float32", "float64")


def operand(rng, rows, columns, way, dtype):
    """A (rows, columns) array of the given layout."""
    if way == "C":
        return rng.standard_normal((rows, columns)).astype(dtype)
    if way == "F":
        return rng.standard_normal((columns, rows)).astype(dtype).T
    if way == "reversed":
        return rng.standard_normal((rows, columns)).astype(dtype)[::-1, ::-1]
    if way == "sparse":
        return rng.standard_normal((2 * rows + 1, 3 * columns + 1)).astype(dtype)[1::2, 1::3][:rows, :columns]
    if way == "padded":
        return rng.standard_normal((rows, columns + 5)).astype(dtype)[:, 3 : columns + 3]
    if way == "row repeated":
        return np.broadcast_to(rng.standard_normal((1, columns)).astype(dtype), (rows, columns))
    if way == "column repeated":
        return np.broadcast_to(rng.standard_normal((rows, 1)).astype(dtype), (rows, columns))
    raise ValueError(way)


def chain(a, b, start=None):
    """An FMA chain over k for every element: exact for float64, but for rare double roundings for float32."""
    sums = np.zeros((a.shape[0], b.shape[1]), a.dtype) if start is None else start.copy()
    for k in range(a.shape[1]):
        if a.dtype == np.float32:
            exact = a[:, k : k + 1].astype(np.float64) * b[k : k + 1] + sums
            sums = exact.astype(np.float32)
        else:
            for i, j in np.ndindex(sums.shape):
                sums[i, j] = float(Fraction(a[i, k]) * Fraction(b[k, j]) + Fraction(sums[i, j]))
    return sums


def multiply(a, b, order="C", **options):
    """The product through its phases."""
    low = lowering([a, b])
    c = low.output((a.shape[0], b.shape[1]), str(a.dtype), None if order == "C" else (1, 0))
    product(low, *low.inputs, c, **options)
    return run(low, [a, b])[c]


def assert_close(c, a, b):
    """Within gamma_k |A| |B| of the product in twice the precision."""
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    k = a.shape[1]
    unit = np.finfo(a.dtype).eps / 2
    bound = k * unit / (1 - k * unit) * (np.abs(a).astype(wide) @ np.abs(b).astype(wide)) + np.finfo(a.dtype).tiny
    assert (np.abs(a.astype(wide) @ b.astype(wide) - c) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_edges_of_tiles(dtype, order):
    rng = np.random.default_rng(0)
    for m, n, k in itertools.product((1, 2, 5, 12, 13, 29), (1, 3, 16, 33, 70), (1, 31)):
        a, b = operand(rng, m, k, "C", dtype), operand(rng, k, n, "C", dtype)
        assert_close(multiply(a, b, order), a, b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37, 45, 29), (1, 40, 50), (40, 1, 50), (3, 4, 5), (64, 10, 600)])
def test_strides(dtype, shape):
    rng = np.random.default_rng(1)
    m, n, k = shape
    ways = ("C", "F", "reversed", "sparse", "padded", "row repeated", "column repeated")
    for way_a, way_b in itertools.product(ways, ways):
        a, b = operand(rng, m, k, way_a, dtype), operand(rng, k, n, way_b, dtype)
        expected = multiply(np.ascontiguousarray(a), np.ascontiguousarray(b))
        assert_close(expected, a, b)
        np.testing.assert_array_equal(multiply(a, b), expected)
        np.testing.assert_array_equal(multiply(a, b, "F"), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 1, 0)])
def test_empty(dtype, shape):
    m, n, k = shape
    a, b = np.ones((m, k), dtype), np.ones((k, n), dtype)
    np.testing.assert_array_equal(multiply(a, b), np.zeros((m, n), dtype))


def test_large_products_stay_within_the_error_bound():
    rng = np.random.default_rng(2)
    for m, n, k in ((257, 300, 1100), (1023, 70, 513), (40, 1025, 1024)):
        for ways in itertools.product("CF", "CF"):
            a, b = operand(rng, m, k, ways[0], "float32"), operand(rng, k, n, ways[1], "float32")
            assert_close(multiply(a, b), a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_element_is_one_chain(dtype):
    rng = np.random.default_rng(3)
    shapes = [(5, 33, 50), (40, 10, 17)] if dtype == "float64" else [(32, 128, 784), (257, 130, 1000), (5, 33, 50)]
    for m, n, k in shapes:
        a, b = operand(rng, m, k, "C", dtype), operand(rng, k, n, "C", dtype)
        np.testing.assert_array_equal(multiply(a, b), chain(a, b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(128, 128, 784), (64, 300, 130), (300, 1030, 500), (128, 10, 128)])
def test_bits_do_not_depend_on_the_rest_of_the_batch(dtype, shape):
    rng = np.random.default_rng(4)
    m, n, k = shape
    for ways in itertools.product("CF", "CF"):
        a, b = operand(rng, m, k, ways[0], dtype), operand(rng, k, n, ways[1], dtype)
        c = multiply(a, b)
        for rows in (slice(0, 1), slice(m // 2, m // 2 + 1), slice(1, m), slice(0, m // 2 + 1)):
            np.testing.assert_array_equal(multiply(a[rows], b), c[rows])
        # a single column is summed in lanes
        for columns in (slice(0, 2), slice(n // 2, n), slice(0, min(n, 7))):
            np.testing.assert_array_equal(multiply(a, b[:, columns]), c[:, columns])


def test_bits_do_not_depend_on_blocks_packing_or_the_order_of_chunks(monkeypatch):
    rng = np.random.default_rng(5)
    a, b = operand(rng, 150, 700, "C", "float32"), operand(rng, 700, 330, "C", "float32")
    expected = multiply(a, b)
    low = lowering([a, b])
    c = low.output((150, 330), "float32")
    product(low, *low.inputs, c)
    assert low.phases[-1].chunks > 1
    execution = Execution(low, [a, b])
    execution.run(1, backwards=True)
    np.testing.assert_array_equal(execution[c], expected)
    monkeypatch.setattr(table, "cheapest", preferring())
    for how_b, how_a, strips, columns, block, group in itertools.product(
        (table.PACK_NONE, table.PACK_BESIDE, table.PACKED),
        (table.PACK_NONE, table.PACK_ALONG),
        (1, 8, 1000),
        (96, 384),
        (16, 333, 560),
        (48, 384),
    ):
        monkeypatch.setattr(table, "cheapest", preferring(how_b, how_a))
        monkeypatch.setattr(table, "row_chunk", lambda *_, chunk=(strips, columns): chunk)
        monkeypatch.setattr(table, "chunk", lambda *_, chunk=(strips, columns): chunk)

        def blocks(m, k, most, panel, *_, block=block, how_a=how_a, how_b=how_b, group=group):
            # panels that a chunk packs fit its scratch; what is read as it lies is gone through panel by panel
            length = min(block, 300) if how_b == table.PACK_BESIDE else block
            return table.Blocks(length, 3 if how_a else 1 << 40, max(1, group // panel) * panel if how_b else panel)

        monkeypatch.setattr(table, "blocks", blocks)
        np.testing.assert_array_equal(multiply(a, b), expected)


def preferring(*wanted):
    """In place of `table.cheapest`: the first way with one of the given values, where there is one."""

    def choose(ways):
        liked = [way for way in ways if not isinstance(way.value, table.Tile) and way.value in wanted]
        return min(liked or ways, key=lambda way: way.nanoseconds)

    return choose


def in_lanes(a, b):
    """Dot products in 64 lanes (32 of float64), each a chain of FMAs, added by halves; exact as `chain` is."""
    count = 256 // a.dtype.itemsize
    k = a.shape[1]
    lanes = np.zeros((a.shape[0], count), a.dtype)
    for p in range(k):
        i = p % count
        lanes[:, i : i + 1] = chain(a[:, p : p + 1], b[p : p + 1], lanes[:, i : i + 1])
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    return lanes


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (40, 64), (9, 65), (20, 200), (5, 0)])
def test_one_column_is_summed_in_lanes(dtype, shape):
    rng = np.random.default_rng(7)
    m, k = shape
    for way_a, way_b in itertools.product(("C", "F", "reversed", "sparse"), ("C", "reversed", "sparse")):
        a, b = operand(rng, m, k, way_a, dtype), operand(rng, k, 1, way_b, dtype)
        np.testing.assert_array_equal(multiply(a, b), in_lanes(a, b))
        for rows in (slice(0, 1), slice(m // 2, m)):
            np.testing.assert_array_equal(multiply(a[rows], b), in_lanes(a[rows], b))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 31, 64, 65, 130])
def test_the_sign_of_a_zero_does_not_depend_on_how_the_rows_lie(dtype, k):
    tiny = np.finfo(dtype).tiny
    a, b = np.full((9, k), -tiny, dtype), np.full((k, 1), tiny, dtype)
    # each product rounds to -0.0, and so do the lanes that have any
    negative = k >= 256 // a.itemsize
    for way in (np.ascontiguousarray, np.asfortranarray):
        c = multiply(way(a), b)
        np.testing.assert_array_equal(c, 0)
        assert (np.signbit(c) == negative).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 1), (33, 7), (64, 40), (67, 90), (200, 65), (9, 0)])
def test_one_row_is_a_chain_for_each_column(dtype, shape):
    rng = np.random.default_rng(8)
    n, k = shape
    if dtype == "float64":
        k = min(k, 9)
    for way_a, way_b in itertools.product(("C", "reversed", "sparse"), ("C", "F", "reversed", "sparse", "padded")):
        a, b = operand(rng, 1, k, way_a, dtype), operand(rng, k, n, way_b, dtype)
        np.testing.assert_array_equal(multiply(a, b), chain(a, b))
        start = rng.standard_normal((1, n)).astype(dtype)
        low = lowering([a, b, start])
        product(low, *low.inputs, accumulate=True)
        np.testing.assert_array_equal(run(low, [a, b, start.copy()])[low.inputs[2]], chain(a, b, start))


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches(dtype):
    rng = np.random.default_rng(9)
    for batch, m, n, k in (
        ((3,), 7, 9, 5),
        ((2, 3), 13, 20, 40),
        ((1, 4), 1, 30, 8),
        ((2, 2), 6, 1, 20),
        ((300,), 2, 3, 4),
    ):
        for way_a, way_b in itertools.product(("C", "F", "reversed", "sparse"), ("C", "F", "sparse")):
            a = np.stack([operand(rng, m, k, way_a, dtype) for _ in range(np.prod(batch))]).reshape(*batch, m, k)
            b = operand(rng, k, n, way_b, dtype)
            if way_a == "F":
                a = a.swapaxes(-1, -2).copy().swapaxes(-1, -2)
            low = lowering([a[::-1], b])
            x, y = low.inputs
            z = low.output((*batch, m, n), dtype)
            product(low, x, y.broadcast_to((*batch, k, n)), z)
            # a column that is not contiguous is copied first
            assert len(low.phases) == (2 if n == 1 and way_b == "sparse" else 1)
            result = run(low, [a[::-1], b])[z]
            for index in np.ndindex(*batch):
                np.testing.assert_array_equal(result[index], multiply(a[::-1][index], b))


def test_steps_after_the_sum():
    rng = np.random.default_rng(10)
    a, b = operand(rng, 21, 40, "C", "float32"), operand(rng, 40, 35, "C", "float32")
    plain = multiply(a, b)
    bias, residual = rng.standard_normal(35).astype("f4"), operand(rng, 21, 35, "F", "float32")
    for order in ("C", "F"):
        low = lowering([a, b, bias, residual])
        c = low.output((21, 35), "float32", None if order == "C" else (1, 0))
        before = low.output((21, 35), "float32", (1, 0))
        x, y, e, f = low.inputs
        steps = [
            Step("scale", cells=(low.cell("alpha"),)),
            Step("add", (e.broadcast_to((21, 35)),)),
            Step("keep", (before,)),
            Step("tanh"),
            Step("add", (f,)),
        ]
        product(low, x, y, c, then=steps)
        done = run(low, [a, b, bias, residual], {"alpha": 0.5})
        kept = plain * np.float32(0.5) + bias
        np.testing.assert_array_equal(done[before], kept)
        np.testing.assert_allclose(done[c], np.tanh(kept) + residual, rtol=3e-7, atol=3e-7)
    with pytest.raises(ValueError, match="too many operands"):
        product(low, x, y, c, then=[Step("add", (f,))] * 4)


def test_bits_do_not_depend_on_the_tile(monkeypatch):
    rng = np.random.default_rng(5)
    a, b = operand(rng, 61, 300, "C", "float32"), operand(rng, 300, 150, "C", "float32")
    expected = chain(a, b)
    target = cpu.target()
    lanes = target.vector_bytes // 4
    tiles = table.Tiles(target.vector_bytes, target.registers)
    seen = set()
    for rows, vectors in tiles.shapes():
        tile = table.Tile(vectors, 1, rows, 0)
        monkeypatch.setattr(table.Tiles, "ways", lambda *_, tile=tile: [table.Way("", 1.0, "", tile)])
        np.testing.assert_array_equal(multiply(a[:rows], b), expected[:rows])
        np.testing.assert_array_equal(multiply(a[:rows], b[:, : vectors * lanes]), expected[:rows, : vectors * lanes])
        seen.add((rows, vectors))
    assert len(seen) >= 15


def test_every_way_to_serve_a_product_is_weighed():
    tiles = table.Tiles(32, 16)
    names = [way.name for way in tiles.ways(100, 100, 100, 8)]
    assert "6 x 2" in names
    assert table.cheapest(tiles.ways(1, 512, 100, 8)).value.vectors == 8
    assert table.cheapest(tiles.ways(3, 512, 100, 8)).value == table.Tile(3, 1, 3, 0)
    assert table.cheapest(tiles.ways(64, 64, 64, 8)).value == table.Tile(2, 11, 5, 9)
    wide = table.Tiles(64, 32)
    assert table.cheapest(wide.ways(1024, 1024, 1024, 16)).value.vectors == 3
    assert table.cheapest(wide.ways(1024, 32, 1024, 16)).value == table.Tile(2, 86, 11, 78)
    for m, n, k in itertools.product((1, 2, 3, 5, 7, 11, 13, 100), (1, 7, 8, 17, 100, 1000), (0, 1, 100)):
        for lanes, these in ((8, tiles), (4, tiles), (16, wide), (8, wide), (4, table.Tiles(16, 32))):
            for way in these.ways(m, n, k, lanes):
                tile = way.value
                assert tile.strips * tile.height + tile.tall == m
                assert tile.most in these.heights[tile.vectors]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(30, 45, 20), (1, 45, 20), (30, 1, 20), (30, 45, 0), (60, 70, 900)])
def test_epilogues(dtype, order, shape):
    rng = np.random.default_rng(6)
    m, n, k = shape
    a, b = operand(rng, m, k, "C", dtype), operand(rng, k, n, "C", dtype)
    plain = multiply(a, b)
    biases = [rng.standard_normal(n).astype(dtype), rng.standard_normal(3 * n).astype(dtype)[::-3][:n]]
    gates = [operand(rng, m, n, way, dtype) for way in ("C", "F", "sparse", "row repeated")]
    gates[0][0, 0] = np.nan
    start = operand(rng, m, n, order, dtype)

    def fused(extra=None, accumulate=False, activation=None, name="bias"):
        arrays = [a, b, start.copy(order="K")] + ([] if extra is None else [extra])
        low = lowering(arrays)
        options = {} if extra is None else {name: low.inputs[3]}
        product(low, *low.inputs[:3], accumulate=accumulate, activation=activation, **options)
        return run(low, arrays)[low.inputs[2]]

    def relu(x):
        return np.where(x <= 0, x.dtype.type(0), x)

    np.testing.assert_array_equal(fused(activation="relu"), relu(plain))
    for bias in biases:
        np.testing.assert_array_equal(fused(bias), plain + bias)
        np.testing.assert_array_equal(fused(bias, activation="relu"), relu(plain + bias))
    for gate in gates:
        np.testing.assert_array_equal(fused(gate, name="gate"), np.where(gate <= 0, 0, plain))
    added = fused(accumulate=True)
    if n == 1:  # summed in lanes, then added
        np.testing.assert_array_equal(added, start + plain)
    elif k * m * n < 30_000 or dtype == "float32":
        np.testing.assert_array_equal(added, chain(a, b, start))
    np.testing.assert_array_equal(fused(biases[0], accumulate=True, activation="relu"), relu(added + biases[0]))


def test_not_a_number_and_infinity():
    a, b = np.ones((20, 9), np.float32), np.ones((9, 40), np.float32)
    a[3, 4], a[5, 6], b[2, 7] = np.nan, np.inf, 0
    b[6, 8] = 0
    with np.errstate(invalid="ignore"):
        expected = a @ b
    np.testing.assert_array_equal(multiply(a, b), expected)
    assert np.isnan(expected[5, 8])
    kept = multiply(a, b, activation="relu")
    assert np.isnan(kept[3]).all()
    assert np.isnan(kept[5, 8])


def test_chunks_are_few_and_never_too_many():
    for m, n, k in ((1, 1, 1), (64, 64, 64), (2**40, 1, 1), (1, 2**40, 3), (2**31, 2**20, 5), (1024, 1024, 1024)):
        low = lowering([None])
        a, b = low.output((m, k), "float32"), low.output((k, n), "float32")
        c = low.output((m, n), "float32")
        product(low, a, b, c)
        product(low, a, low.output((n, k), "float32").T, c)
        for phase in low.phases:
            assert 1 <= phase.chunks <= 65_535
            assert phase.work > 0
    assert 16 <= low.phases[-1].chunks <= 256


@pytest.mark.parametrize(("a", "b", "c"), [((2, 3), (4, 5), (2, 5)), ((2, 3), (3, 5), (2, 4))])
def test_shapes_that_do_not_fit(a, b, c):
    low = lowering([])
    with pytest.raises(ValueError, match="do not fit"):
        product(low, *[low.output(shape, "float32") for shape in (a, b, c)])


@pytest.mark.skipif("FASTNN_CPU" in os.environ, reason="runs inside itself")
@pytest.mark.parametrize("level", ["avx2", "generic"])
def test_other_vector_widths(level):
    from fastnn._kernels import cpu

    if cpu.target().level != "avx512":
        pytest.skip("needs a CPU with wider vectors")
    names = "float32 and (test_edges or test_epilogues or test_an_element)"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", names, __file__]
    done = subprocess.run(command, env={**os.environ, "FASTNN_CPU": level}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
