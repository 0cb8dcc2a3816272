"""Recording a call once and repeating it without Python.

`recording` hears what a call does, `building` makes a plan of it, `arena` finds places for what lives only within the
call, `guards` tells whether modules have changed since, `report` shows a plan, and `step` is what users call. A plan
itself is compiled: `fastnn._runtime.plan`.
"""

from fastnn.compilation.step import Compiled, compile

__all__ = ["Compiled", "compile"]
