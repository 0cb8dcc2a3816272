"""The words of the direct kernels' ``args`` and the places of a thread's scratch: what is planned and what is read.

Distances are in bytes. Sides: a convolution's source is what it reads places of, its target what it writes; `q` numbers
places of the target along an axis, all of them or those of one class.
"""

from __future__ import annotations

from enum import IntEnum

# A thread's scratch: offsets of the rows of an edge's tile, that tile, offsets of rows of A and of C and of steps, then
# a strip of the source, and what else a kernel packs.
EDGE_ROWS, EDGE_AT, A_ROWS, C_ROWS, STEPS, STRIP_AT = 0, 1 << 10, 8 << 10, 24 << 10, 40 << 10, 72 << 10
MOST_ROWS, MOST_STEPS = (C_ROWS - A_ROWS) // 8 - 64, (STRIP_AT - STEPS) // 8
STRIP_ROOM = (1 << 20) - STRIP_AT


class Gather(IntEnum):
    """Arguments of `direct.gather`; at CLASSES stand the classes, CLASS_WORDS each, as in `Class`."""

    TARGET = 0
    SOURCE = 1
    PANELS = 2
    BIAS = 3  # (groups, outputs rounded up to panels), or 0
    CHANNELS = 4  # of a group, as OUTPUTS
    OUTPUTS = 5
    BATCH = 6
    SOURCE_ROWS = 7
    SOURCE_COLUMNS = 8
    SOURCE_SAMPLE = 9
    SOURCE_ROW = 10
    SOURCE_COLUMN = 11
    TARGET_SAMPLE = 12
    TARGET_ROW = 13
    TARGET_COLUMN = 14
    STEP_ROW = 15  # places of the source from q to q
    STEP_COLUMN = 16
    SPREAD_ROW = 17  # places of the target from q to q
    SPREAD_COLUMN = 18
    TAP_ROW = 19  # places of the source from tap to tap
    TAP_COLUMN = 20
    LOW_ROW = 21  # the lowest source that q = 0 meets
    LOW_COLUMN = 22
    SPAN_ROW = 23  # places of the source from the lowest to the highest that a q meets
    SPAN_COLUMN = 24
    ROWS = 25  # the most q of a class
    COLUMNS = 26
    BLOCK = 27  # channels at a time
    CHUNK_SAMPLES = 28  # what is done at a time: samples, rows, columns
    CHUNK_ROWS = 29
    CHUNK_COLUMNS = 30
    DOWN = 31  # of these below each other
    ACROSS = 32  # and side by side
    EACH = 33  # of these in a chunk
    EVERY = 34
    TOGETHER = 35  # panels that a tile's rows go past before the next rows do
    GROUP_PANELS = 36  # from group to group
    BLOCK_OUTPUTS = 37  # outputs at a time, whole panels
    COUNT = 38  # of classes
    CLASSES = 39


class Class(IntEnum):
    """Places of the target that meet the same taps."""

    PANELS = 0  # from the group's panels to the class's
    TAP_ROWS = 1
    TAP_COLUMNS = 2
    START_ROW = 3  # the source that q = 0 meets with its first tap
    START_COLUMN = 4
    FIRST_ROW = 5  # the target's place of q = 0
    FIRST_COLUMN = 6
    ROWS = 7
    COLUMNS = 8


CLASS_WORDS = len(Class)


class Pack(IntEnum):
    """Arguments of `direct.panels`."""

    TARGET = 0
    WEIGHT = 1  # of the first tap
    CHANNELS = 2
    OUTPUTS = 3
    TAP_ROWS = 4
    TAP_COLUMNS = 5
    CHANNEL = 6  # distances in the weight
    OUTPUT = 7
    TAP_ROW = 8
    TAP_COLUMN = 9
    GROUP = 10
    GROUP_PANELS = 11
    BLOCK = 12  # channels at a time
    HOW = 13  # outputs lie, as `matmul.table` has it


class Accumulate(IntEnum):
    """Arguments of `direct.accumulate`: source and steps as in `Gather`, `got` is what the output got."""

    TARGET = 0  # (parts, taps, channels, outputs)
    SOURCE = 1
    GOT = 2
    CHANNELS = 3  # of a group, as OUTPUTS
    OUTPUTS = 4
    BATCH = 5
    SOURCE_ROWS = 6
    SOURCE_COLUMNS = 7
    SOURCE_SAMPLE = 8
    SOURCE_ROW = 9
    SOURCE_COLUMN = 10
    GOT_SAMPLE = 11
    GOT_ROW = 12
    GOT_COLUMN = 13
    STEP_ROW = 14
    STEP_COLUMN = 15
    TAP_ROW = 16
    TAP_COLUMN = 17
    LOW_ROW = 18
    LOW_COLUMN = 19
    SPAN_ROW = 20
    SPAN_COLUMN = 21
    ROWS = 22  # of the output
    COLUMNS = 23
    TAP_ROWS = 24
    TAP_COLUMNS = 25
    BLOCK = 26  # channels of an item
    BLOCK_OUTPUTS = 27  # likewise, whole panels
    CHUNK_SAMPLES = 28  # places at a time: of samples, rows, columns
    CHUNK_ROWS = 29
    CHUNK_COLUMNS = 30
    DOWN = 31  # of these below each other
    ACROSS = 32  # and side by side
    STRIPS = 33  # and of all
    PARTS = 34  # partial sums
    PART = 35  # distances in the target, as the next two
    TARGET_TAP = 36
    TARGET_CHANNEL = 37
    EACH = 38  # items of a chunk: a part of the places, a group, a block of channels, one of outputs
    EVERY = 39
    TOGETHER = 40  # panels that a tile's rows go past before the next rows do
    AS_IT_LIES = 41  # whether panels of what the output got are read where they lie


# Scratch of `spread`: rows of the input, products of as many places as are done at a time, and these places packed.
SPREAD_AT = STRIP_AT
SPREAD_PRODUCTS_AT, SPREAD_PACKED_AT = SPREAD_AT + (384 << 10), SPREAD_AT + (672 << 10)
SPREAD_ROOM, PRODUCTS_ROOM = SPREAD_PRODUCTS_AT - SPREAD_AT, SPREAD_PACKED_AT - SPREAD_PRODUCTS_AT
PACKED_ROOM = (1 << 20) - SPREAD_PACKED_AT
PLACES_AT_ONCE = 64


class Spread(IntEnum):
    """Arguments of `spread.spread`: the target is the input, `got` what the output got."""

    TARGET = 0
    GOT = 1
    WEIGHT = 2
    CHANNELS = 3  # of a group, as OUTPUTS
    OUTPUTS = 4
    BATCH = 5
    ROWS = 6
    COLUMNS = 7
    TARGET_SAMPLE = 8
    TARGET_ROW = 9
    TARGET_COLUMN = 10
    GOT_ROWS = 11
    GOT_COLUMNS = 12
    GOT_SAMPLE = 13
    GOT_ROW = 14
    GOT_COLUMN = 15
    TAP_ROWS = 16
    TAP_COLUMNS = 17
    STRIDE_ROW = 18
    STRIDE_COLUMN = 19
    DILATION_ROW = 20
    DILATION_COLUMN = 21
    PADDING_ROW = 22
    PADDING_COLUMN = 23
    WEIGHT_OUTPUT = 24
    WEIGHT_CHANNEL = 25
    WEIGHT_ROW = 26
    WEIGHT_COLUMN = 27
    WEIGHT_GROUP = 28
    LINE = 29  # bytes of the columns of a row with one remainder, of one channel
    BLOCK_ROWS = 30  # rows of the input at a time
    DOWN = 31  # of these in an image
    EACH = 32  # of these in a chunk
    EVERY = 33
    TOGETHER = 34  # panels that a tile's rows go past before the next rows do
