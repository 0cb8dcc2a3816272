"""Special functions under the names of ``torch.special``; `fastnn` has some of them under the same names."""

from __future__ import annotations

from fastnn.functions.pointwise import _binary, _unary, erf, erfc, erfinv, exp2, expm1, log1p, logit, round, sinc, xlogy

entr = _unary("entr", "entropy")
expit = _unary("expit", "sigmoid")
xlog1py = _binary("xlog1py")

__all__ = [
    "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "log1p", "logit", "round", "sinc", "xlog1py", "xlogy",
]  # fmt: skip
