// One step of an optimizer for up to 64 parameters in one launch.
//
// The arrays of all parameters arrive by value, as lists of pointers, with their sizes: nothing is
// copied together, nothing is sent to the device but the launch itself.  Each array is cut into
// chunks of 1024 elements; a block does one chunk, and finds which by counting chunks from the
// first array on.  A thread updates 4 elements, 256 apart, so that neighbouring threads touch
// neighbouring addresses.
//
// Portable twins: OptimKernels.sgd_, adagrad_, rmsprop_, adadelta_, adam_, nadam_, radam_ and
// adamax_ in nnx/backends/portable/optim.py, which say what the symbols mean.
// REAL is float or double.
//
// Bytes: each array is read once and, but for the gradient, written once: for Adam 7 numbers a
// parameter (28 bytes in float32).
//
// Common arguments: `sign` is -1 to maximise, else 1; `decay` is the weight decay that is added to
// the gradient; `shrink` multiplies the parameter first (decoupled weight decay), 1 for none.

struct Inputs {
    const REAL* at[64];
};
struct Arrays {
    REAL* at[64];
};
struct Sizes {
    long long at[64];
};

#define CHUNK 1024

// Calls rule(k, i) for each element i of array k that this thread is to update.
template <class Rule>
__device__ __forceinline__ void each_element(const Sizes& sizes, int count, Rule rule) {
    long long chunk = blockIdx.x;
    int k = 0;
    for (; k < count - 1; ++k) {
        const long long chunks = (sizes.at[k] + CHUNK - 1) / CHUNK;
        if (chunk < chunks) break;
        chunk -= chunks;
    }
    #pragma unroll
    for (int j = 0; j < CHUNK; j += 256) {
        const long long i = chunk * CHUNK + j + threadIdx.x;
        if (i < sizes.at[k]) rule(k, i);
    }
}

// The gradient of what is minimised, weight decay included.
__device__ __forceinline__ REAL descent(REAL g, REAL p, REAL sign, REAL decay) {
    g *= sign;
    return decay != 0 ? g + decay * p : g;
}

// As the array API's maximum: NaN wins.
__device__ __forceinline__ REAL larger(REAL a, REAL b) { return a > b || a != a ? a : b; }

// The state is made on the first step, from the gradient; without momentum there is none.
extern "C" __global__ void __launch_bounds__(256)
sgd(Arrays params, Inputs grads, Arrays buffers, Sizes sizes, int count, int first, int nesterov,
    REAL lr, REAL momentum, REAL fresh, REAL sign, REAL decay) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i];
        REAL g = descent(grads.at[k][i], p, sign, decay);
        if (buffers.at[k]) {
            const REAL v = first ? g : momentum * buffers.at[k][i] + fresh * g;
            buffers.at[k][i] = v;
            g = nesterov ? g + momentum * v : v;
        }
        params.at[k][i] = p - lr * g;
    });
}

extern "C" __global__ void __launch_bounds__(256)
adagrad(Arrays params, Inputs grads, Arrays sums, Sizes sizes, int count,
        REAL rate, REAL eps, REAL sign, REAL decay) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const REAL s = sums.at[k][i] + g * g;
        sums.at[k][i] = s;
        params.at[k][i] = p - rate * g / (sqrt(s) + eps);
    });
}

extern "C" __global__ void __launch_bounds__(256)
rmsprop(Arrays params, Inputs grads, Arrays squares, Arrays averages, Arrays buffers, Sizes sizes,
        int count, REAL lr, REAL alpha, REAL fresh, REAL eps, REAL momentum, REAL sign,
        REAL decay) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const REAL s = alpha * squares.at[k][i] + fresh * g * g;
        squares.at[k][i] = s;
        REAL root = s;
        if (averages.at[k]) {
            const REAL old = averages.at[k][i], a = old + fresh * (g - old);
            averages.at[k][i] = a;
            root = s - a * a;
        }
        REAL step = g / (sqrt(root) + eps);
        if (buffers.at[k]) {
            step = momentum * buffers.at[k][i] + step;
            buffers.at[k][i] = step;
        }
        params.at[k][i] = p - lr * step;
    });
}

extern "C" __global__ void __launch_bounds__(256)
adadelta(Arrays params, Inputs grads, Arrays squares, Arrays deltas, Sizes sizes, int count,
         REAL lr, REAL rho, REAL fresh, REAL eps, REAL sign, REAL decay) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const REAL s = rho * squares.at[k][i] + fresh * g * g, d = deltas.at[k][i];
        const REAL step = sqrt(d + eps) / sqrt(s + eps) * g;
        squares.at[k][i] = s;
        deltas.at[k][i] = rho * d + fresh * step * step;
        params.at[k][i] = p - lr * step;
    });
}

// Adam's running averages of g and g^2, written and returned.
struct Moments {
    REAL m, s;
};
__device__ __forceinline__ Moments moments(REAL* average, REAL* square, REAL g, REAL fresh1,
                                           REAL beta2, REAL fresh2) {
    const REAL m = *average + fresh1 * (g - *average), s = beta2 * *square + fresh2 * g * g;
    *average = m;
    *square = s;
    return {m, s};
}

extern "C" __global__ void __launch_bounds__(256)
adam(Arrays params, Inputs grads, Arrays averages, Arrays squares, Arrays maxima, Sizes sizes,
     int count, REAL rate, REAL root, REAL fresh1, REAL beta2, REAL fresh2, REAL eps, REAL sign,
     REAL decay, REAL shrink) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const Moments at =
            moments(averages.at[k] + i, squares.at[k] + i, g, fresh1, beta2, fresh2);
        REAL s = at.s;
        if (maxima.at[k]) {
            s = larger(maxima.at[k][i], s);
            maxima.at[k][i] = s;
        }
        params.at[k][i] = p * shrink - rate * at.m / (sqrt(s) / root + eps);
    });
}

extern "C" __global__ void __launch_bounds__(256)
nadam(Arrays params, Inputs grads, Arrays averages, Arrays squares, Sizes sizes, int count,
      REAL gradient_rate, REAL average_rate, REAL root, REAL fresh1, REAL beta2, REAL fresh2,
      REAL eps, REAL sign, REAL decay, REAL shrink) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const Moments at =
            moments(averages.at[k] + i, squares.at[k] + i, g, fresh1, beta2, fresh2);
        params.at[k][i] = p * shrink -
                          (gradient_rate * g + average_rate * at.m) / (sqrt(at.s) / root + eps);
    });
}

extern "C" __global__ void __launch_bounds__(256)
radam(Arrays params, Inputs grads, Arrays averages, Arrays squares, Sizes sizes, int count,
      REAL average_rate, REAL adaptive_rate, REAL fresh1, REAL beta2, REAL fresh2, REAL eps,
      REAL sign, REAL decay, REAL shrink) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const Moments at =
            moments(averages.at[k] + i, squares.at[k] + i, g, fresh1, beta2, fresh2);
        const REAL step = adaptive_rate != 0 ? adaptive_rate * at.m / (sqrt(at.s) + eps)
                                             : average_rate * at.m;
        params.at[k][i] = p * shrink - step;
    });
}

extern "C" __global__ void __launch_bounds__(256)
adamax(Arrays params, Inputs grads, Arrays averages, Arrays norms, Sizes sizes, int count,
       REAL rate, REAL fresh1, REAL beta2, REAL eps, REAL sign, REAL decay) {
    each_element(sizes, count, [&](int k, long long i) {
        const REAL p = params.at[k][i], g = descent(grads.at[k][i], p, sign, decay);
        const REAL old = averages.at[k][i], m = old + fresh1 * (g - old);
        const REAL u = larger(beta2 * norms.at[k][i], fabs(g) + eps);
        averages.at[k][i] = m;
        norms.at[k][i] = u;
        params.at[k][i] = p - rate * m / u;
    });
}
