import hashlib

import numpy as np

from fastnn.data import cars, datasets


def test_the_file_is_the_published_one():
    text = cars.car_csv().encode()
    assert len(text) == 51_867
    assert hashlib.sha256(text).hexdigest() == "b703a9ac69f11e64ce8c223c0a40de4d2e9d769f7fb20be5f8f2e8a619893d83"


def test_the_table_holds_what_the_file_does():
    table = datasets.car()
    assert table.features.shape == (1728, 6)
    assert (table.features.dtype, table.targets.dtype) == (np.float32, np.int64)
    assert np.bincount(table.targets).tolist() == [1210, 384, 69, 65]
    lines = cars.car_csv().splitlines()
    for row in (0, 431, 1727):
        values = [own[int(i)] for own, i in zip(cars.ATTRIBUTES.values(), table.features[row], strict=True)]
        assert ",".join([*values, table.classes[table.targets[row]]]) == lines[row]
