"""When a tuned way on NumPy pays, and when the one with the fewest calls.

Beside each stands the time of the way for large sizes over that for small, below, at and above it,
measured by `python -m benchmarks.thresholds` (processor time, one thread, AMD EPYC with AVX-512,
the machine under load).
"""

from __future__ import annotations

# Of all columns of a convolution: up to here they are laid out at once; 3x3, 8 channels, one image:
# 2.7 at 32 KiB, 2.1, 1.1 at 512 KiB; with channels last 2.4, 1.7, 0.5 at 256 KiB.
COLUMN_BYTES = 2**17
# In a window: up to here columns are laid out for any number of images; one channel, kxk: 6.4 at
# 9 numbers, 2.9 at 36.  That is a first layer; others' images have channels last, which rows need.
COLUMN_NUMBERS = 20
# In a group's window: up to here columns, whatever the images; 3x3, 64 channels: 2.45 at 18
# numbers, 2.28 at 36, 1.17, 0.82 at 144; beside the compiled loops 2.19, 1.44, 0.82, 0.43.
COLUMN_GROUP = 40
# In a window's row: for fewer, whole windows are laid out, not their rows; a first layer, 3x3: 1.07
# at 3 numbers, 0.97 at 9, 0.41 at 18.
CONV_ROW = 8
POOL = 2**15  # numbers of images, for each place of a window; 2x2: 2.6 at 8,192, 1.06, 0.5
POOL_WINDOWS = (
    96  # windows, whose means up to here are a product; 2x2: 1.33 at 48, 1.08, 0.83 at 192
)
POOL_WHOLE = 2**15  # numbers; 8x8, compiled over this: 3.4 at 192, 2.8 at 2,048, 2.0 here
NORM = 2**13  # numbers; layer_norm with its backward 1.14 at 4,096, 0.96, 0.88 at 16,384
TURN = 2**14  # numbers; planes of 32x32 to channels last: 1.36 at 8,192, 0.67, 0.28
STRETCH = 2**14  # numbers; written out and multiplied by an array: 2.3 at 4,096, 1.6, 1.3 at 65,536
# Numbers of a row that is written at once, added to where it comes again; 2048 rows into 5000: 1.18
# at 16, 0.57 here, 0.47 at 64.
EMBEDDING_ROW = 32
LOSS_CLASSES = 40  # classes last over classes first: 1.16 at 10, 0.96, 0.69 at 160
RELU_ZEROS = 4096  # numbers; np.maximum beside zeros over beside 0: 1.52 at 1,024, 1.03, 0.69
RELU_CLIP = 2**14  # numbers; np.clip over np.maximum beside zeros: 1.14 at 8,192, 1.02, 0.82
RELU_ROW = 64  # likewise beside a row of zeros: 1.12 at 16, 0.95, 0.84 at 256
# Multiply-adds of a product: up to here nothing is asked; OpenBLAS takes one thread to 2**18.
PRODUCT = 2**16
# Bytes: smaller arrays are np.empty's, whose memory the C library keeps.  Eight arrays, filled and
# dropped: 3.0 here, 2.3 at 256 KiB, and 0.08 at 512 KiB, where the system takes the memory back.
MEMORY = 2**17
ROWS = 2**13  # numbers; softmax with its backward, rows of 64: 1.38 at 4,096, 1.06, 0.81 at 16,384
