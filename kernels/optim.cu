// One step of an optimizer for up to 64 parameters in one launch.
//
// The arrays of all parameters arrive by value, as lists of pointers, with their sizes: nothing is
// copied together, nothing is sent to the device but the launch itself.  Each array is cut into
// chunks of 1024 elements; a block does one chunk, and finds which by counting chunks from the
// first array on.  A thread updates 4 elements, 256 apart, so that neighbouring threads touch
// neighbouring addresses.
//
// Portable twins: OptimKernels.sgd_, adagrad_, rmsprop_, adadelta_, adam_, nadam_, radam_ and
// adamax_, and count_step_, unscale_ and update_scale_, in nnx/backends/portable/optim.py, which say what the symbols mean.
// REAL is float or double.
//
// Bytes: each array is read once and, but for the gradient, written once: for Adam 7 numbers a
// parameter (28 bytes in float32).
//
// Common arguments: `sign` is -1 to maximise, else 1; `decay` is the weight decay that is added to
// the gradient; `shrink` multiplies the parameter first (decoupled weight decay), 1 for none.  Where
// `skip` is given and not 0, no step is made: nothing is written.  Where `steps` is given, the number
// of this step stands there, and Adam's two divisors are made of it here: 1 - β^t as -expm1(t log β),
// for the difference itself has no digits in float while t is small.

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
sgd(Arrays params, Inputs grads, Arrays buffers, Sizes sizes, int count,
    const int* __restrict__ skip, int first, int nesterov, REAL lr, REAL momentum, REAL fresh,
    REAL sign, REAL decay) {
    if (skip && *skip) {
        if (first)
            each_element(sizes, count, [&](int k, long long i) {
                if (buffers.at[k]) buffers.at[k][i] = 0;
            });
        return;
    }
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
     int count, const int* __restrict__ skip, const long long* __restrict__ steps, REAL lr,
     REAL log_beta1, REAL log_beta2, REAL rate, REAL root, REAL fresh1, REAL beta2,
     REAL fresh2, REAL eps, REAL sign, REAL decay, REAL shrink) {
    if (skip && *skip) return;
    __shared__ REAL divisors[2];
    if (steps) {
        if (threadIdx.x == 0) {
            const REAL t = (REAL)*steps;
            divisors[0] = lr / -expm1(t * log_beta1);
            divisors[1] = sqrt(-expm1(t * log_beta2));
        }
        __syncthreads();
        rate = divisors[0];
        root = divisors[1];
    }
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

// How often a step was made: `steps` counts this one too, unless it is left out.  One thread.
extern "C" __global__ void __launch_bounds__(32)
count_step(long long* __restrict__ steps, const int* __restrict__ skip) {
    if (threadIdx.x == 0 && !(skip && *skip)) *steps += 1;
}

// Gradients divided by the loss's scale; `found` becomes 1 where one is infinite or NaN.  A thread
// looks at its 4 elements and tells at most once, by an integer's atomic: the order of threads does
// not matter.
extern "C" __global__ void __launch_bounds__(256)
unscale(Arrays grads, Sizes sizes, int count, const float* __restrict__ scale,
        int* __restrict__ found) {
    const REAL factor = 1 / (REAL)*scale;
    bool spoiled = false;
    each_element(sizes, count, [&](int k, long long i) {
        const REAL g = grads.at[k][i] * factor;
        spoiled |= g - g != 0;
        grads.at[k][i] = g;
    });
    if (spoiled) atomicOr(found, 1);
}

// The loss's scale after a step: see OptimKernels.update_scale_.  One thread.
extern "C" __global__ void __launch_bounds__(32)
update_scale(float* __restrict__ scale, int* __restrict__ growth, const int* __restrict__ found,
             float growth_factor, float backoff_factor, int interval) {
    if (threadIdx.x) return;
    if (*found) {
        *scale *= backoff_factor;
        *growth = 0;
        return;
    }
    const int steps = *growth + 1;
    if (steps == interval) {
        const float grown = *scale * growth_factor;
        if (fabsf(grown) <= 3.402823466e38f) *scale = grown;
    }
    *growth = steps == interval ? 0 : steps;
}
