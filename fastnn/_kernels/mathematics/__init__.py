"""Functions of mathematics over traced values (`fastnn._kernels.vector.Value`), a family a module.

Each serves float32 and float64, a scalar or a vector. Branches are taken for whole vectors and only to skip what no
lane needs, so an element's bits do not depend on its neighbours. `docs/accuracy.md` holds the largest errors over all
float32 arguments; `make ulp` measures them.
"""
