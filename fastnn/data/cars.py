"""The car evaluation data, made from the rule by which an expert system judged them."""

from __future__ import annotations

import itertools

import numpy as np

from fastnn.data.tables import Table

ATTRIBUTES = {
    "buying": ("vhigh", "high", "med", "low"),
    "maint": ("vhigh", "high", "med", "low"),
    "doors": ("2", "3", "4", "5more"),
    "persons": ("2", "4", "more"),
    "lug_boot": ("small", "med", "big"),
    "safety": ("low", "med", "high"),
}
CLASSES = ("unacc", "acc", "good", "vgood")

# The rule's inner nodes, a digit for each pair or triple of values, the last value fastest.
PRICE = "0011 0111 1123 1233"  # by buying and maint
COMFORT = "000112012 000112122 000122122 000122122"  # by doors, persons and lug_boot
TECH = "000 012 023"  # by comfort and safety
VERDICT = "0000 0011 0113 0123"  # by price and tech


def _node(digits: str, *shape: int) -> np.ndarray:
    return np.array([int(d) for d in digits.replace(" ", "")]).reshape(shape)


def _judged(places: np.ndarray) -> np.ndarray:
    """Classes of cars, given the places of their attributes' values (N, 6)."""
    buying, maint, doors, persons, boot, safety = places.T
    comfort = _node(COMFORT, 4, 3, 3)[doors, persons, boot]
    tech = _node(TECH, 3, 3)[comfort, safety]
    price = _node(PRICE, 4, 4)[buying, maint]
    return np.asarray(_node(VERDICT, 4, 4)[price, tech])


def _places() -> np.ndarray:
    """All 1,728 combinations of values (N, 6), the last attribute fastest."""
    return np.array(list(itertools.product(*(range(len(values)) for values in ATTRIBUTES.values()))))


def car() -> Table:
    """Return the car evaluation data: 1,728 cars of six attributes, and how acceptable they are.

    Nothing is read: the data are the answers of an expert system to all combinations, and are made from its rule.
    Features are the places of the values in `fastnn.data.cars.ATTRIBUTES`, from the worst on. ``car_csv()`` of that
    module gives the file as it was published.

    Source: M. Bohanec, V. Rajkovic, "Expert system for decision making", Sistemica 1 (1990); M. Bohanec, "Car
    Evaluation", UCI Machine Learning Repository, 1997.
    """
    places = _places()
    return Table(
        places.astype(np.float32),
        _judged(places).astype(np.int64),
        tuple(ATTRIBUTES),
        "class",
        CLASSES,
        "car evaluation",
        "made from the rule",
    )


def car_csv() -> str:
    """The published file's text: a line for each car, values and class separated by commas."""
    places = _places()
    values = [*ATTRIBUTES.values(), CLASSES]
    rows = np.column_stack([places, _judged(places)])
    return "".join(",".join(own[i] for own, i in zip(values, row, strict=True)) + "\n" for row in rows.tolist())


__all__ = ["car", "car_csv"]
