# distutils: language = c++
"""The walk over the tape: from results to the leaves they came from.

(a) Nodes are numbered as they are made, and every consumer of an output is younger than its maker, so taking nodes by
    falling number is a topological order and needs no counting beforehand. Nothing recurses.
(b) Gradients travel as plain arrays. An array whose base is a pool block was made by the op just run and belongs to
    nobody else: a leaf takes it over without a copy. Any other array may be shared and is copied.
"""

cimport numpy as cnp
from libc.stdint cimport int64_t, uint32_t

from fastnn._runtime.memory cimport Block
from fastnn._runtime.tensor cimport Node, TensorBase, add_arrays, as_array, catch_up, observing, wrap

import heapq

import numpy as np

from fastnn._runtime.tensor import dense_copy, set_grad_enabled_now
from fastnn.errors import ShapeError

cnp.import_array()


cdef class _Pending:
    """Gradients that have reached a node's outputs so far."""

    cdef list gradients
    cdef list owned


cdef inline bint is_owned(cnp.ndarray array):
    return type((<object>array).base) is Block


cdef object run_hooks(hooks, cnp.ndarray gradient):
    """Let hooks look at a gradient, and replace it."""
    cdef TensorBase tensor
    for hook in tuple(hooks.values()):
        tensor = wrap(gradient)
        changed = hook(tensor)
        if changed is not None:
            if not isinstance(changed, TensorBase):
                raise TypeError(f"a gradient hook must return a Tensor or None, got {type(changed).__name__}")
            if changed.shape != tensor.shape:
                raise ShapeError(f"a gradient hook must keep the shape {tensor.shape}, got {changed.shape}")
            gradient = as_array(np.asarray((<TensorBase>changed).array, dtype=gradient.dtype))
    return gradient


def run_backward(list roots, list gradients, bint retain_graph, list targets=None):
    """Walk the tape from `roots` towards the leaves.

    Parameters
    ----------
    roots : tensors that require grad.
    gradients : their gradients, arrays of the same shape and dtype.
    retain_graph : keep what the nodes saved.
    targets : None to add to the leaves' `grad`; else tensors whose gradients to return instead.

    Returns
    -------
    With `targets`, a list of their gradients as arrays, None where none arrived.
    """
    cdef dict pending = {}
    cdef list heap = [], results
    cdef list produced, outgoing
    cdef dict wanted = None, leaves = {}
    cdef set useful = None, goals = None
    cdef Node node
    cdef _Pending slot
    cdef TensorBase tensor
    cdef cnp.ndarray gradient
    cdef object edge
    cdef int i
    for root in roots:
        catch_up(<TensorBase>root)
    if targets is not None:
        wanted = {}
        results = [None] * len(targets)
        for i, target in enumerate(targets):
            tensor = <TensorBase>target
            catch_up(tensor)
            wanted.setdefault((id(tensor) if tensor._node is None else id(tensor._node), tensor._output), []).append(i)
        goals = set()
        for target in targets:
            tensor = <TensorBase>target
            goals.add(tensor if tensor._node is None else tensor._node)
        useful = _useful_nodes(roots, goals)
    cdef tuple observers = observing()
    for observer in observers:
        observer.walk(True)
    before = set_grad_enabled_now(False)
    try:
        for root, value in zip(roots, gradients):
            tensor = <TensorBase>root
            _send(pending, heap, leaves, tensor if tensor._node is None else tensor._node, tensor._output,
                  as_array(value), False)
        while heap:
            node = <Node>heapq.heappop(heap)[1]
            slot = <_Pending>pending.pop(node)
            outgoing = slot.gradients
            if node.hooks is not None:
                for output, hooks in node.hooks.items():
                    if outgoing[output] is not None:
                        outgoing[output] = run_hooks(hooks, outgoing[output])
            if node.retained is not None:
                for output, reference in node.retained.items():
                    kept = reference()
                    if kept is not None and outgoing[output] is not None:
                        (<TensorBase>kept)._grad = None
                        (<TensorBase>kept).accumulate(outgoing[output], False)
            if wanted is not None:
                for i in range(node.n_outputs):
                    for place in wanted.get((id(node), i), ()):
                        results[place] = outgoing[i]
                if node not in useful:
                    continue
            produced = node.apply(outgoing, 0xffffffff if useful is None else asked_of(node, goals, useful))
            if not retain_graph:
                node.release()
            for i in range(len(node.edges)):
                edge = node.edges[i]
                if edge is None or produced[i] is None:
                    continue
                gradient = <cnp.ndarray>produced[i]
                _send(pending, heap, leaves, edge, node.edge_outputs[i], gradient, is_owned(gradient))
        for leaf, slot in leaves.values():
            tensor = <TensorBase>leaf
            gradient = slot.gradients[0]
            owned = slot.owned[0]
            if tensor._hooks:
                gradient = run_hooks(tensor._hooks, gradient)
                owned = False
            if wanted is None:
                tensor.accumulate(gradient, owned)
                if tensor._post_hooks:
                    for hook in tuple(tensor._post_hooks.values()):
                        hook(tensor)
            else:
                for place in wanted.get((id(tensor), 0), ()):
                    results[place] = gradient
    finally:
        set_grad_enabled_now(before)
        for observer in observers:
            observer.walk(False)
    if targets is None:
        return None
    # what the caller gets is the caller's alone
    taken = set()
    for i in range(len(results)):
        if results[i] is not None and (id(results[i]) in taken or not is_owned(<cnp.ndarray>results[i])):
            results[i] = dense_copy(results[i])
        taken.add(id(results[i]))
    return results


cdef _send(dict pending, list heap, dict leaves, object edge, int output, cnp.ndarray gradient, bint owned):
    """Deliver a gradient to a node's output or a leaf, adding to what is there."""
    cdef _Pending slot
    cdef Node node
    if isinstance(edge, Node):
        node = <Node>edge
        slot = <_Pending>pending.get(node)
        if slot is None:
            slot = _Pending.__new__(_Pending)
            slot.gradients = [None] * node.n_outputs
            slot.owned = [False] * node.n_outputs
            pending[node] = slot
            heapq.heappush(heap, (-<int64_t>node.sequence, node))
    else:
        found = leaves.get(id(edge))
        if found is None:
            slot = _Pending.__new__(_Pending)
            slot.gradients = [None]
            slot.owned = [False]
            leaves[id(edge)] = (edge, slot)
        else:
            slot = <_Pending>found[1]
        output = 0
    if slot.gradients[output] is None:
        slot.gradients[output] = gradient
        slot.owned[output] = owned
    else:
        # the sum is new memory, so what either side still refers to stays as it was
        slot.gradients[output] = add_arrays(<cnp.ndarray>slot.gradients[output], gradient, None)
        slot.owned[output] = True


cdef uint32_t asked_of(Node node, set goals, set useful):
    """A bit for each input of a node whose gradient leads to a goal."""
    cdef uint32_t asked = 0
    cdef int i
    for i in range(len(node.edges)):
        edge = node.edges[i]
        if edge is not None and (edge in goals or edge in useful):
            asked |= <uint32_t>1 << i
    return asked


cdef set _useful_nodes(list roots, set goals):
    """Nodes from which a goal (a leaf, or a node) can be reached."""
    cdef set useful = set(), seen = set()
    cdef list stack = [], order = []
    cdef TensorBase tensor
    cdef Node node
    for root in roots:
        tensor = <TensorBase>root
        if tensor._node is not None:
            stack.append(tensor._node)
    while stack:
        node = <Node>stack.pop()
        if node in seen:
            continue
        seen.add(node)
        order.append(node)
        for edge in node.edges:
            if isinstance(edge, Node):
                stack.append(edge)
    order.sort(key=_sequence)
    for item in order:
        node = <Node>item
        for edge in node.edges:
            if edge is not None and (edge in goals or edge in useful):
                useful.add(node)
                break
    return useful


def _sequence(Node node):
    return node.sequence
