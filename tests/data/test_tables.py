"""Tables from files and other libraries, and points in the plane."""

import numpy as np
import pytest

from fastnn.data import Table, TableError, datasets, read_csv, table


def written(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return path


def test_classes_and_numbers(tmp_path):
    found = read_csv(written(tmp_path, "a,kind,b\n1,x,2\n3,y,4.5\n5,x,6\n"), "kind")
    assert found.feature_names == ("a", "b")
    assert found.classes == ("x", "y")
    assert found.targets.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(found.features, np.float32([[1, 2], [3, 4.5], [5, 6]]))
    assert "3 rows of 2 features, 2 classes" in repr(found)
    whole = read_csv(written(tmp_path, "a,b\n1,10\n2,9\n3,10\n"))
    assert whole.classes == ("9", "10")
    assert whole.targets.tolist() == [1, 0, 1]
    numbers = read_csv(written(tmp_path, "1,1.5\n2,2.5\n"))
    assert numbers.feature_names == ("1",)
    assert numbers.classes is None
    assert numbers.targets.dtype == np.float32
    known = read_csv(written(tmp_path, "a,b\n1,x\n"), classes=["w", "x"])
    assert known.targets.tolist() == [1]
    with pytest.raises(TableError, match=r"row 2, column 'b' must be one of w, got 'x'"):
        read_csv(written(tmp_path, "a,b\n1,x\n"), classes=["w"])


def test_text_that_is_no_class(tmp_path):
    rows = "".join(f"{i},name{i}\n" for i in range(100))
    with pytest.raises(TableError, match="row 2, column 'b' must hold a number or one of a few classes, got 'name0'"):
        read_csv(written(tmp_path, "a,b\n" + rows))


NUMBERS = "".join(f"{i},{i}.5\n" for i in range(30))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a header and rows, got an empty file"),
        ("a,y\n", "expected rows below the header, got none"),
        ("a,b,y\n1,2,0\n3,,1\n", "row 3, column 'b' must hold a number, got ''"),
        ("a,b,y\n1,2,0\n3,hello,1\n", "row 3, column 'b' must hold a number, got 'hello'"),
        ("a,b,y\n1,2,0\n3,NaN,1\n", "row 3, column 'b' must hold a number, got 'NaN'"),
        ("a,b,y\n1,2,0\n-inf,3,1\n", "row 3, column 'a' must hold a number, got '-inf'"),
        ("a,b,y\n1e39,2,0\n", "row 2, column 'a' must hold a number, got '1e39' (beyond float32)"),
        ('a,y\n"1,000",0\n', "row 2, column 'a' must hold a number, got '1,000'"),
        ("a,y\n\n1,0\n\nx,1\n", "row 5, column 'a' must hold a number, got 'x'"),
        ("a,y\r\n1,0\r\nx,1\r\n", "row 3, column 'a' must hold a number, got 'x'"),
        ("a,y\n" + "x" * 100_000 + ",0\n", "must hold a number, got '" + "x" * 55 + " ..."),
        ("a,y\n" + "9" * 200_000 + ",0\n", "row 2 is no row of a CSV file: field larger than field limit"),
        ("a,b,y\n1,2\n", "row 2 must have 3 cells like the header, got 2"),
        ("a,b,y\n1,2,0\n1,2,0,4\n", "row 3 must have 3 cells like the header, got 4"),
        ('a,b,y\n1,"2,0\n1,3,1\n', "row 3 must have 3 cells like the header, got 2"),
        ("a;b;y\n1;2;0\n", "expected at least 2 columns, with commas between, got 'a;b;y'"),
        ("a,a,y\n1,2,3\n", "names of columns must differ, got 'a' twice"),
        ("a,y\n1,0\n2,\n", "row 3, column 'y' must hold what to predict, got ''"),
        ("a,y\n1,0\n2, nan\n", "row 3, column 'y' must hold what to predict, got 'nan'"),
        ("a,y\n1,0\n2,NA\n3,1\n", "row 3, column 'y' must hold what to predict, got 'NA'"),
        ("a,y\n" + NUMBERS + "1,?\n", "row 32, column 'y' must hold what to predict, got '?'"),
        ("a,y\n" + NUMBERS + "1,inf\n", "row 32, column 'y' must hold a number or one of a few classes, got 'inf'"),
        ("a,y\n" + NUMBERS + "1,1e39\n", "row 32, column 'y' must hold a number, got '1e39' (beyond float32)"),
        (b"a,y\n1,\xe9\n", "expected text in UTF-8, got byte 0xe9 in row 2"),
        ("a,y\n1,0\n".encode("utf-16"), "expected text in UTF-8, got byte 0xff in row 1"),
    ],
)
def test_what_is_wrong_is_told_with_row_and_column(tmp_path, text, words):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TableError) as caught:
        read_csv(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_texts_for_nothing_are_classes_among_classes(tmp_path):
    assert read_csv(written(tmp_path, "a,y\n1,NA\n2,EU\n3,None\n")).classes == ("EU", "NA", "None")


def test_what_is_wrong_in_tables_of_pandas():
    pd = pytest.importorskip("pandas")
    good = {"a": [1.0, 2.0], "y": [0, 1]}
    for given, words in (
        ({"a": [1e39, 0.0]}, "row 1, column 'a' must hold a number, got 1e+39 (beyond float32)"),
        ({"a": [0.0, -np.inf]}, "row 2, column 'a' must hold a number, got -inf"),
        ({"a": [1.0, None]}, "row 2, column 'a' must hold a number, got nan"),
        ({"a": [1j, 2]}, "row 1, column 'a' must hold a number, got 1j"),
        ({"a": [pd.Timestamp("2020")] * 2}, "row 1, column 'a' must hold a number, got datetime"),
        ({"a": [1, [2]]}, "row 2, column 'a' must hold a number, got [2]"),
        ({"y": [0, None]}, "row 2, column 'y' must hold what to predict, got nan"),
        ({"y": pd.array([0, None], dtype="Int64")}, "row 2, column 'y' must hold what to predict, got <NA>"),
        ({"y": [pd.Timestamp("2020"), None]}, "row 2, column 'y' must hold what to predict, got NaT"),
        ({"y": [np.zeros(2), np.zeros(2)]}, "row 1, column 'y' must hold what to predict, got array"),
    ):
        with pytest.raises(TableError) as caught:
            table(pd.DataFrame(good | given), "y")
        assert words in str(caught.value)
    with pytest.raises(TableError, match="names of columns must differ"):
        table(pd.DataFrame([[1, 2, 3]], columns=["a", "a", "y"]))


def test_tables_of_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "y": ["p", "q", "p"]})
    found = table(frame, "y")
    assert isinstance(found, Table)
    assert found.source == "pandas"
    assert found.classes == ("p", "q")
    np.testing.assert_array_equal(found.features, np.float32([[1, 0.5], [2, 1.5], [3, 2.5]]))
    with pytest.raises(TableError, match="row 2, column 'a' must hold a number, got 'z'"):
        table(frame.assign(a=[1, "z", 3]), "y")
    with pytest.raises(TableError, match="row 3, column 'b' must hold a number, got nan"):
        table(frame.assign(b=[1.0, 2.0, np.nan]), "y")
    with pytest.raises(TableError, match="there is no column 'k'; there are a, b, y"):
        table(frame, "k")


@pytest.mark.parametrize("draw", [datasets.moons, datasets.circles, datasets.spirals, datasets.clouds])
def test_points_in_the_plane(draw):
    x, y = draw(101, seed=3)
    assert (x.shape, x.dtype, y.dtype) == ((101, 2), np.float32, np.int64)
    assert set(y.tolist()) == set(range(max(y) + 1))
    assert np.bincount(y).max() - np.bincount(y).min() <= 1
    for again, same in ((draw(101, seed=3), True), (draw(101, seed=4), False)):
        assert np.array_equal(x, again[0]) == same
    assert len(draw(0)[0]) == 0
    with pytest.raises(ValueError, match="at least 0"):
        draw(-1)


def test_named_tables(monkeypatch, tmp_path):
    flowers = datasets.iris()
    assert (flowers.features.shape, len(flowers.classes)) == ((150, 4), 3)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    drawn = datasets.exam_scores()
    assert "drawn" in drawn.source
    assert drawn.features.shape == (100, 2)
    (tmp_path / "exam_scores.csv").write_text("34.6,78.0,0\n60.2,86.3,1\n")
    found = datasets.exam_scores()
    assert found.targets.tolist() == [0, 1]
    assert found.classes == ("no", "yes")


def test_small_digits():
    parts = datasets.digits()
    assert parts.train.images.shape == (1437, 8, 8)
    assert len(datasets.digits(split="test")) == 360
    assert parts.train.images.max() == 255


def test_cifar10_from_its_binary_files(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        records = rng.integers(0, 256, (10_000, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(folder / name)
    parts = datasets.cifar10(tmp_path)
    assert parts.train.images.shape == (50_000, 3, 32, 32)
    assert parts.test.features().shape == (10_000, 3072)
    assert parts.test.features(flatten=False).shape == (10_000, 3, 32, 32)
    np.testing.assert_array_equal(parts.test.images[7].ravel(), records[7, 1:])
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(ValueError, match="expected 10,000 records of 3,073 bytes, got 5 bytes"):
        datasets.cifar10(tmp_path, split="test")
    with pytest.raises(FileNotFoundError, match="cifar-10-batches-bin there"):
        datasets.cifar10(tmp_path / "nowhere")
