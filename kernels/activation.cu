// Activations whose formula is a chain of array operations, in one launch each.
//
//   sigmoid, softplus, erf            y (any shape) of x, elementwise
//   gelu, silu, elu, leaky_relu       y, and the derivative dy/dx where `slope` is not null
//   sigmoid_backward                  gx = gy y (1 - y)
//   tanh_backward                     gx = gy (1 - y^2)
//
// One thread an element, neighbouring threads on neighbouring addresses.
//
// Portable twins: the methods of ActivationKernels in nnx/backends/portable/activation.py, which
// have the formulas.  Arrays are of STORE: float, double or Half; computed is in REAL.
//
// Bytes: x is read and y written, with `slope` that too: 8 or 12 an element in float.  As array
// operations, GELU made about 40 passes over memory of that size.

#define EACH(i, n)                                                          \
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;   \
    if (i >= n) return

// exp sees -|x| only, so that nothing overflows.
__device__ __forceinline__ REAL logistic(REAL x) {
    const REAL e = exp(-fabs(x));
    return (x >= 0 ? REAL(1) : e) / (REAL(1) + e);
}

extern "C" __global__ void __launch_bounds__(256)
sigmoid(const STORE* __restrict__ x, STORE* __restrict__ y, long long n) {
    EACH(i, n);
    y[i] = logistic(x[i]);
}

extern "C" __global__ void __launch_bounds__(256)
sigmoid_backward(const STORE* __restrict__ gy, const STORE* __restrict__ y, STORE* __restrict__ gx,
                 long long n) {
    EACH(i, n);
    gx[i] = gy[i] * (y[i] * (REAL(1) - y[i]));
}

extern "C" __global__ void __launch_bounds__(256)
tanh_backward(const STORE* __restrict__ gy, const STORE* __restrict__ y, STORE* __restrict__ gx,
              long long n) {
    EACH(i, n);
    gx[i] = gy[i] * (REAL(1) - y[i] * y[i]);
}

extern "C" __global__ void __launch_bounds__(256)
softplus(const STORE* __restrict__ x, STORE* __restrict__ y, long long n) {
    EACH(i, n);
    y[i] = (x[i] < 0 ? REAL(0) : x[i]) + log1p(exp(-fabs(x[i])));
}

extern "C" __global__ void __launch_bounds__(256)
error_function(const STORE* __restrict__ x, STORE* __restrict__ y, long long n) {
    EACH(i, n);
    y[i] = erf(x[i]);
}

// `by_tanh`: the approximation, (1 + tanh u) / 2 = sigmoid(2 u).
extern "C" __global__ void __launch_bounds__(256)
gelu(const STORE* __restrict__ x, STORE* __restrict__ y, STORE* __restrict__ slope, int by_tanh,
     long long n) {
    EACH(i, n);
    const REAL v = x[i];
    if (by_tanh) {
        const REAL scale = REAL(0.79788456080286535588), cubic = REAL(0.044715);  // √(2/π)
        const REAL phi = logistic(2 * scale * (v + cubic * v * v * v));
        y[i] = v * phi;
        if (slope)
            slope[i] = phi + 2 * v * phi * (1 - phi) * (scale * (1 + 3 * cubic * v * v));
        return;
    }
    // Φ(x) as a complement keeps its digits where it is small.
    const REAL phi = REAL(0.5) * erfc(v * REAL(-0.70710678118654752440));
    y[i] = v * phi;
    if (slope) slope[i] = phi + v * (exp(REAL(-0.5) * v * v) * REAL(0.39894228040143267794));
}

extern "C" __global__ void __launch_bounds__(256)
silu(const STORE* __restrict__ x, STORE* __restrict__ y, STORE* __restrict__ slope, long long n) {
    EACH(i, n);
    const REAL s = logistic(x[i]), v = x[i] * s;
    y[i] = v;
    if (slope) slope[i] = s + v * (REAL(1) - s);
}

extern "C" __global__ void __launch_bounds__(256)
elu(const STORE* __restrict__ x, STORE* __restrict__ y, STORE* __restrict__ slope, REAL alpha,
    REAL scale, REAL width, long long n) {
    EACH(i, n);
    const bool positive = x[i] > 0;
    const REAL below = positive ? REAL(0) : x[i] / width;
    y[i] = positive ? x[i] * scale : expm1(below) * (scale * alpha);
    if (slope) slope[i] = positive ? scale : exp(below) * (scale * alpha / width);
}

extern "C" __global__ void __launch_bounds__(256)
leaky_relu(const STORE* __restrict__ x, STORE* __restrict__ y, STORE* __restrict__ slope, REAL a,
           long long n) {
    EACH(i, n);
    y[i] = x[i] > 0 ? x[i] : x[i] * a;
    if (slope) slope[i] = x[i] > 0 ? REAL(1) : a;
}
