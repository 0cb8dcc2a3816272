"""The words of the Winograd kernels' ``args``, and what lies where in a thread's scratch. Distances are in bytes."""

from __future__ import annotations

from enum import IntEnum

# Scratch: tables of places; the elements of a tile whose last channels do not fill a vector, on their way in and out; a
# row of zeros as long as all channels may be, one that nobody reads, and one that is added to all outputs; then what a
# taps on their way into the registers; then what a chunk works on.
TABLES_AT, STAGE_IN_AT, STAGE_OUT_AT, ZEROS_AT, NOWHERE_AT, ROW_AT, TAPS_AT, WORK_AT = (
    4096 * i for i in (0, 1, 2, 3, 7, 9, 11, 13)
)
WORK_ROOM = (1 << 20) - WORK_AT
CHANNEL_BYTES, SLICE_BYTES = NOWHERE_AT - ZEROS_AT, ROW_AT - NOWHERE_AT
PANEL_VECTORS = 2

# Tiles are sorted by kind, (small down, small across), so that those with a point lie side by side for every point.
KINDS = ((0, 1), (0, 0), (1, 0), (1, 1))


class Word(IntEnum):
    """Arguments of the kernels of `winograd`; each uses some of them.

    A block is a part of all tiles: of every kind as large a part. Transformed tiles lie point by point, a row a tile
    (`TILES`), or a panel of columns after the other (`PANELS`). Transformed kernels lie panel by panel of output
    channels, in these point by point, a row an input channel.
    """

    SOURCE = 0  # the image that is read
    KERNEL = 1
    BIAS = 2  # 0: none
    TILES = 3  # transformed ones; 0: each chunk makes its own
    PANELS = 4
    RESULT = 5
    BATCH = 6
    CHANNELS = 7
    OUTPUTS = 8
    HEIGHT = 9  # of the image that is read
    WIDTH = 10
    TOP = 11  # zeros above it and left of it
    LEFT = 12
    SOURCE_IMAGE = 13
    SOURCE_ROW = 14
    SOURCE_COLUMN = 15
    RESULT_HEIGHT = 16
    RESULT_WIDTH = 17
    RESULT_IMAGE = 18
    RESULT_ROW = 19
    RESULT_COLUMN = 20
    DOWN_LARGE = 21  # tiles below each other, and side by side
    DOWN_SMALL = 22
    ACROSS_LARGE = 23
    ACROSS_SMALL = 24
    BLOCKS = 25
    BLOCK = 26  # the first one that a phase is about
    KERNEL_OUTPUT = 27  # distances between output channels, input channels, taps
    KERNEL_CHANNEL = 28
    KERNEL_DOWN = 29
    KERNEL_ACROSS = 30
    KERNEL_PACK = 31  # how `matmul.pack` calls that; -1: it is transformed already
    TILES_ROW = 32
    TILES_POINT = 33
    PANELS_POINT = 34
    RUN = 35  # channels that are transformed at a time, and the distance to the next ones
    RUN_STEP = 36
    DEPTH = 37  # input channels whose kernels are transformed at a time
    KERNEL_POINT = 38  # of transformed kernels
    KERNEL_AT = 39  # in scratch: these
    SUMS_AT = 40  # in scratch: the products
    SUMS_ROW = 41
    SUMS_POINT = 42
    SLICE = 43  # output channels that are multiplied at a time
    SLICES = 44  # chunks side by side
    CHUNK_OUTPUTS = 45
    CHUNK_ROWS = 46  # tiles, or input channels, of a chunk
    ACCUMULATE = 47  # whether to add to the result
