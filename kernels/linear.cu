// What stands between matrix products: a bias, ReLU and its backward.
//
//   add_bias:       y (N, O) += bias (O,)      in place, on the product that was just made
//   add_bias_relu:  y = max(y + bias, 0)       likewise
//   relu:           y = max(x, 0); NaN stays NaN
//   relu_backward:  gx = gy where y > 0, else 0
//
// One thread an element, neighbouring threads on neighbouring addresses.
//
// Portable twins: DenseKernels.linear and linear_relu (what follows the product), relu and
// relu_backward in nnx/backends/portable/dense.py.  REAL is float or double.
//
// Bytes: add_bias and add_bias_relu read and write y; relu reads x and writes y; relu_backward reads
// two arrays and writes one.  As array operations they make a second sum, or an array of zeros,
// besides.

#define EACH(i, n)                                                          \
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;   \
    if (i >= n) return

extern "C" __global__ void __launch_bounds__(256)
add_bias(REAL* __restrict__ y, const REAL* __restrict__ bias, int columns, long long n) {
    EACH(i, n);
    y[i] += bias[i % columns];
}

// max(x, 0); NaN stays NaN.
__device__ __forceinline__ REAL positive(REAL x) { return x < 0 ? REAL(0) : x; }

extern "C" __global__ void __launch_bounds__(256)
add_bias_relu(REAL* __restrict__ y, const REAL* __restrict__ bias, int columns, long long n) {
    EACH(i, n);
    y[i] = positive(y[i] + bias[i % columns]);
}

extern "C" __global__ void __launch_bounds__(256)
relu(const REAL* __restrict__ x, REAL* __restrict__ y, long long n) {
    EACH(i, n);
    y[i] = positive(x[i]);
}

extern "C" __global__ void __launch_bounds__(256)
relu_backward(const REAL* __restrict__ gy, const REAL* __restrict__ y, REAL* __restrict__ gx,
              long long n) {
    EACH(i, n);
    gx[i] = y[i] > 0 ? gy[i] : REAL(0);
}
