"""The words of the product kernels' ``args``: what the planner writes and the kernels read. Distances are in bytes."""

from __future__ import annotations

from enum import IntEnum

# Arrays that an epilogue may read or write besides C, and hyper-parameters that it may take.
EPILOGUE_OPERANDS = 3
EPILOGUE_CELLS = 2


class Word(IntEnum):
    """Arguments of `product.product`.

    A, B, C and the epilogue's operands E, F, G are addresses; CELLS, and the word after it, addresses of
    hyper-parameters. At EXTENTS stand the extents of the batch's AXES, then, for each of A, B, C, E, F and G, its
    distances along them.
    """

    A = 0
    B = 1
    C = 2
    E = 3
    F = 4
    G = 5
    M = 6
    N = 7
    K = 8
    A_ROW = 9
    A_STEP = 10  # from one k to the next
    B_STEP = 11
    B_COLUMN = 12
    C_ROW = 13
    E_ROW = 14
    E_COLUMN = 15
    F_ROW = 16
    F_COLUMN = 17
    G_ROW = 18
    G_COLUMN = 19
    EPILOGUE = 20  # what tiles do to their sums
    FINISH = 21  # FINISH_KERNEL is called for 0: nothing, 1: all of C, 2: what tiles at an edge computed
    FINISH_KERNEL = 22
    CELLS = 23
    ACCUMULATE = 25  # whether sums start from C
    CHUNKS = 26
    DOWN = 27  # chunks below each other
    ACROSS = 28  # chunks side by side
    CHUNK_STRIPS = 29
    CHUNK_COLUMNS = 30  # a multiple of a panel
    ITEMS = 31  # products of the batch in a chunk
    BATCH = 32  # products of the batch
    STRIPS = 33  # of all of A; each has HEIGHT rows, the first TALL one more
    HEIGHT = 34
    TALL = 35
    VECTORS = 36  # of a panel
    BLOCK = 37  # k of a block
    PACK_A = 38  # how strips of A are packed into scratch, if they are
    PACK_B = 39  # how panels of B are
    STRIP_STEP = 40  # from one k to the next in a packed strip
    GROUP_STRIPS = 41  # strips that are packed at a time
    GROUP_COLUMNS = 42  # columns of B, a multiple of a panel, that all of these strips go past before the next ones
    WIDEST = 43  # columns that are gone through at a time: scratch holds their panels
    UNLESS_ALIGNED = 44  # panels are not packed where each row of B begins at a multiple of a vector
    AXES = 45
    EXTENTS = 46


class PanelWord(IntEnum):
    """Arguments of `pack.panels`."""

    B = 0
    TO = 1
    N = 2
    K = 3
    COLUMN = 4
    STEP = 5
    PANEL = 6  # columns
    HOW = 7
    CHUNK_COLUMNS = 8
    CHUNK_K = 9
