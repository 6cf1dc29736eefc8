"""When a compiled way pays: below these sizes tuned NumPy, or one thread, is as quick.

Beside each stands the compiled way's time over NumPy's, below, at and above it, measured by
`python -m benchmarks.thresholds` (processor time, one thread, AMD EPYC with AVX-512, NumPy 2.4, the
machine under load).  Where the ratio is below 1 at smaller sizes already, the threshold is what it
is because few numbers are not worth the seconds that numba takes to compile, or to load.
"""

from __future__ import annotations

# ---- compiled, or NumPy ----

ACTIVATION = 4096  # numbers; GELU 0.11 at 1,024 to 0.15 at 16,384, softmax 0.54 to 0.65
# tanh and the backward of tanh and sigmoid: NumPy has quick loops for them.  tanh 1.38 at 4,096,
# 1.06 here, 0.94 at 65,536, where NumPy has AVX-512 (without: 0.67, 0.4, 0.28); tanh_backward 1.05,
# 0.85, 0.59.
ACTIVATION_QUICK = 2**14  # numbers
LINEAR = 1024  # numbers of a result; relu 1.16 at 256, 0.93, 0.65 at 4,096; linear_relu 0.52, 0.54
LOSS = 256  # numbers; 8 classes: 0.34 at 64, 0.36, 0.39 at 1,024
# Up to so many classes e^z of all rows together is quicker than row by row: 1.18 at 16, 1.07, 0.51
# at 256 (row by row over together).
LOSS_CLASSES = 64
EMBEDDING = 1024  # numbers of all gradients' rows; 0.46 at 256, 0.38, 0.26 at 4,096
RANDOM = 256  # words; 0.04 at 64 to 0.05 at 1,024
OPTIM = 1024  # numbers of all parameters; Adam 0.39 at 256, 0.34, 0.33 at 4,096
NORM = 4096  # numbers; batch_norm with its backward 1.35 at 1,024, 1.02, 0.53 at 16,384
POOL = 2**11  # numbers of images, for each place of a window; 1.05, 0.77 at 4,096, 0.36 at 32,768
# Pre-activations of a recurrent layer of many steps, and its backward: RNN, 100 steps, 0.46 at
# 1,600, GRU, 10 steps, 0.69 at 3,840, LSTM 0.60 at 5,120; of fewer steps see `recurrent.layer`.
RECURRENT = 2**12

# ---- another thread, or one fewer: so much for each ----
# A second thread is worth what a second core is: under load these could not be measured.

CONV_THREAD = 500_000  # multiply-adds
DEPTHWISE_THREAD = 2**14  # numbers of images
POOL_THREAD = 2**15  # numbers of images
NORM_THREAD = 2**15  # numbers
SCAN_THREAD = 2**19  # multiply-adds of a recurrent layer's scan
PRODUCT_THREAD = 2**20  # multiply-adds
