// The simple recurrent layer: one time step, and whole sequences of layers with few hidden units.
//
//   h[t] = f(z[t] + W h[t-1]),   f = tanh or relu
//
//   rnn_step               the elementwise half of one time step, when a matrix product has made
//                          u = W h[t-1] for all sequences at once
//   rnn_sequence_*         the whole scan over time in one launch, for at most 32, 64 or 128
//                          units
//   each with _backward
//
// Portable twins: Backend.rnn_sequence and rnn_sequence_backward in
// nnx/backends/portable/rnn.py; the derivation is in nnx/ops/rnn.py.  Arrays are of STORE: float,
// double or Half; computed is in REAL.
//
// Shapes: T time steps, N sequences, S directions, H units.
//
//   z, states, gy, gz   (T, N, S, H)   at the step's own time
//   h, u                (S, N, H)      of one step
//   weight              (H, H) for each direction; or `across`, the same transposed
//   bias                (H,) for each direction, of the input and of the state, or null
//   totals              (N, S, H), the sums of gz over time: from them, the biases' gradients
//
// h0 and the gradient gh_n may be null for zeros.
//
// Direction 0 scans from time 0 on, direction 1 from time T-1 back: step k is time k or T-1-k.
// A sequence that has ended (t >= lengths[n]) keeps its state, whichever way the scan goes.
//
// Bytes per unit and step, float.  Step: forward reads z, u and writes h and its copy in states,
// 16; backward reads gy, back, h and writes gz and its copy, 20.  Sequence: forward reads z and
// writes h, 8; backward reads gy and h and writes gz, 12; the state never leaves the chip, and the
// weights are read once, but for those beyond HELD columns, which are read at each step.

// One array for each direction, or two: the biases of the input and of the state.  As the launcher
// passes a list; null where there is none.
struct Arrays {
    const STORE* at[64];
};

__device__ __forceinline__ int time_of(int k, int s, int steps) {
    return s == 0 ? k : steps - 1 - k;
}

__device__ __forceinline__ REAL activated(REAL a, int relu) {
    if (!relu) return tanh(a);
    return a <= REAL(0) ? REAL(0) : a;  // NaN stays NaN
}

// f' from the output alone: 1 - h^2, or 1 where h > 0.
__device__ __forceinline__ REAL slope(REAL h, int relu) {
    if (!relu) return REAL(1) - h * h;
    return h > REAL(0) ? REAL(1) : REAL(0);
}

// ---- one time step ----

// One thread for one unit of one sequence in one direction.
extern "C" __global__ void __launch_bounds__(256)
rnn_step(const STORE* __restrict__ z, const STORE* __restrict__ u, const STORE* __restrict__ h,
         const long long* __restrict__ lengths, STORE* __restrict__ h_next,
         STORE* __restrict__ states, int relu, int k, int steps, int n, int directions,
         int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;  // (s * n + sequence) * hidden + unit
    if (e >= directions * n * hidden) return;
    const int row = e / hidden, unit = e - row * hidden, s = row / n, sequence = row - s * n;
    const int t = time_of(k, s, steps);
    const long long now = (((long long)t * n + sequence) * directions + s) * hidden + unit;
    const bool ended = lengths && t >= lengths[sequence];
    h_next[e] = states[now] = ended ? h[e] : activated(z[now] + u[e], relu);
}

// The same thread's way back.  The gradient of h is the sum of what the output hands down (gy),
// of what the later step hands back through the product (back = gz W) and of `carry`, the gradient
// of a state that passed an ended sequence unchanged.
extern "C" __global__ void __launch_bounds__(256)
rnn_step_backward(const STORE* __restrict__ gy, const STORE* __restrict__ back,
                  const STORE* __restrict__ carry, const STORE* __restrict__ states,
                  const long long* __restrict__ lengths, STORE* __restrict__ gz,
                  STORE* __restrict__ gz_now, STORE* __restrict__ carry_next, int relu, int k,
                  int steps, int n, int directions, int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const int row = e / hidden, unit = e - row * hidden, s = row / n, sequence = row - s * n;
    const int t = time_of(k, s, steps);
    const long long now = (((long long)t * n + sequence) * directions + s) * hidden + unit;
    REAL gh = gy[now];
    if (back) gh += back[e];
    if (carry) gh += carry[e];
    const bool ended = lengths && t >= lengths[sequence];
    gz[now] = gz_now[e] = ended ? REAL(0) : gh * slope(states[now], relu);
    if (carry_next) carry_next[e] = ended ? gh : REAL(0);
}

// ---- the whole scan ----
//
// One block for one sequence and direction, blockIdx = (sequence, s): sequences do not wait for
// each other.  UNITS >= H is how many units there is room for, one thread each, which keeps the
// first HELD weights of its row (forward) or column (backward) in registers: all of them, but for
// 128 units in double precision.
//
// A step is a product of the weights with a vector in shared memory (h, or the gradient of z), the
// elementwise part, and one barrier: the vector stands there twice, the step reads the one and
// writes the other.  What the next step reads from memory is asked for before the product.

constexpr int MOST_HELD = sizeof(REAL) == 4 ? 128 : 64;  // of 128 units: 128 registers a thread

// The weights of a thread: `first` is its first weight, the next one `step` elements on.
template <int HELD>
__device__ __forceinline__ void hold(REAL (&w)[HELD], const STORE* first, int step, int count) {
#pragma unroll
    for (int i = 0; i < HELD; ++i) w[i] = i < count ? first[(long long)i * step] : REAL(0);
}

template <int UNITS, int HELD>
__device__ __forceinline__ REAL product(const REAL (&w)[HELD], const STORE* first, int step,
                                        int count, const REAL* vector) {
    REAL sum[4] = {0, 0, 0, 0};  // four chains of additions, so that none waits for another
#pragma unroll
    for (int i = 0; i < HELD; ++i) sum[i % 4] += w[i] * vector[i];
    REAL rest = 0;
    if (UNITS > HELD)
#pragma unroll 8
        for (int i = HELD; i < count; ++i) rest += first[(long long)i * step] * vector[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + rest;
}

template <int UNITS, int HELD>
__device__ __forceinline__ void scan(const STORE* z, const STORE* h0, const Arrays& weight,
                                      const Arrays& bias, const long long* lengths, STORE* states,
                                      STORE* h_n, int relu, int across, int steps, int n,
                                      int directions, int hidden) {
    alignas(16) __shared__ REAL h[2][UNITS];
    const int sequence = blockIdx.x, s = blockIdx.y, unit = threadIdx.x;
    const bool used = unit < hidden;
    const int count = used ? hidden : 0;
    const long long length = lengths ? lengths[sequence] : steps;

    REAL w[HELD];
    const STORE* weights = weight.at[s] + (across ? unit : (long long)unit * hidden);
    const int step = across ? hidden : 1;
    hold(w, weights, step, count);
    REAL b = used && bias.at[2 * s] ? bias.at[2 * s][unit] : REAL(0);
    if (used && bias.at[2 * s + 1]) b += bias.at[2 * s + 1][unit];

    const long long start = ((long long)s * n + sequence) * hidden + unit;
    REAL own = used && h0 ? h0[start] : REAL(0);
    h[0][unit] = own;
    h[1][unit] = 0;
    __syncthreads();

    const long long first = ((long long)sequence * directions + s) * hidden + unit;
    const long long stride = (long long)n * directions * hidden;
    REAL ahead = used ? z[first + time_of(0, s, steps) * stride] : REAL(0);
    int side = 0;
    for (int k = 0; k < steps; ++k) {
        const int t = time_of(k, s, steps);
        const REAL here = ahead;
        if (used && k + 1 < steps) ahead = z[first + time_of(k + 1, s, steps) * stride];
        if (t < length) {  // the same for the whole block
            const REAL a = here + b + product<UNITS>(w, weights, step, count, h[side]);
            side = 1 - side;
            if (used) h[side][unit] = own = activated(a, relu);
            __syncthreads();
        }
        if (used) states[first + t * stride] = own;
    }
    if (used) h_n[start] = own;
}

template <int UNITS, int HELD>
__device__ __forceinline__ void scan_backward(const STORE* gy, const STORE* gh_n,
                                               const STORE* states, const Arrays& weight,
                                               const long long* lengths, STORE* gz, STORE* gh0,
                                               STORE* totals, int relu, int steps, int n, int directions,
                                               int hidden) {
    alignas(16) __shared__ REAL gradient[2][UNITS];
    const int sequence = blockIdx.x, s = blockIdx.y, unit = threadIdx.x;
    const bool used = unit < hidden;
    const int count = used ? hidden : 0;
    const long long length = lengths ? lengths[sequence] : steps;

    REAL w[HELD];
    const STORE* weights = weight.at[s] + unit;
    hold(w, weights, hidden, count);
    gradient[0][unit] = gradient[1][unit] = 0;  // units that are not there stay 0

    const long long start = ((long long)s * n + sequence) * hidden + unit;
    const long long first = ((long long)sequence * directions + s) * hidden + unit;
    const long long stride = (long long)n * directions * hidden;
    REAL gh = used && gh_n ? gh_n[start] : REAL(0), ahead_gy = 0, ahead_h = 0;
    if (used) {
        const long long last = first + time_of(steps - 1, s, steps) * stride;
        ahead_gy = gy[last];
        ahead_h = states[last];
    }
    int side = 0;
    REAL total = 0;  // of gz over time
    for (int k = steps - 1; k >= 0; --k) {
        const int t = time_of(k, s, steps);
        const REAL here_gy = ahead_gy, here_h = ahead_h;
        if (used && k > 0) {
            const long long next = first + time_of(k - 1, s, steps) * stride;
            ahead_gy = gy[next];
            ahead_h = states[next];
        }
        if (t >= length) {  // the whole block: the gradient of the state passes unchanged
            if (used) gz[first + t * stride] = 0;
        } else {
            if (used) {
                const REAL g = (gh + here_gy) * slope(here_h, relu);
                gz[first + t * stride] = gradient[side][unit] = g;
                total += g;
            }
            __syncthreads();
            gh = product<UNITS>(w, weights, hidden, count, gradient[side]);
            side = 1 - side;
        }
    }
    if (used) {
        gh0[start] = gh;
        totals[first] = total;
    }
}

// Each entry point once for each size of state.

#define SCAN(units, threads, held)                                                           \
    extern "C" __global__ void __launch_bounds__(threads) rnn_sequence_##units(              \
        const STORE* __restrict__ z, const STORE* __restrict__ h0, const Arrays weight,        \
        const Arrays bias, const long long* __restrict__ lengths, STORE* __restrict__ states, \
        STORE* __restrict__ h_n, int relu, int across, int steps, int n, int directions,      \
        int hidden) {                                                                        \
        scan<units, held>(z, h0, weight, bias, lengths, states, h_n, relu, across, steps,    \
            n, directions, hidden);                                                          \
    }

SCAN(32, 32, 32)
SCAN(64, 64, 64)
SCAN(128, 128, MOST_HELD)

#define SCAN_BACKWARD(units, threads, held)                                                   \
    extern "C" __global__ void __launch_bounds__(threads) rnn_sequence_backward_##units(      \
        const STORE* __restrict__ gy, const STORE* __restrict__ gh_n,                           \
        const STORE* __restrict__ states, const Arrays weight,                                 \
        const long long* __restrict__ lengths, STORE* __restrict__ gz, STORE* __restrict__ gh0, \
        STORE* __restrict__ totals, int relu, int steps, int n, int directions, int hidden) {  \
        scan_backward<units, held>(gy, gh_n, states, weight, lengths, gz, gh0, totals,        \
            relu, steps, n, directions, hidden);                                              \
    }

SCAN_BACKWARD(32, 32, 32)
SCAN_BACKWARD(64, 64, 64)
SCAN_BACKWARD(128, 128, MOST_HELD)
