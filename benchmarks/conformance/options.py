"""What to check and how strictly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Options:
    """Settings of a run.

    Attributes
    ----------
    dtypes : names of the dtypes to sample.
    noncontiguous : each sample once more with non-contiguous tensors.
    backward : gradients too.
    errors : the table's bad calls too, which must raise.
    reference : the table's larger set of samples.
    samples : at most so many a dtype (0: all).
    tolerance : multiplies the tolerances.
    """

    dtypes: tuple[str, ...] = ("float32",)
    noncontiguous: bool = False
    backward: bool = False
    errors: bool = False
    reference: bool = False
    samples: int = 0
    tolerance: float = 1.0
