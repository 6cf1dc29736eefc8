// The GRU's whole scan over time in one launch, for layers of at most 32, 64 or 128
// units.
//
//   gru_sequence_*         x, h0, weight, bias -> states, gates, and u_n or r h
//   gru_sequence_backward_*
//
// in two variants: `after`, the reset after the product, and `before` it (the formulas: gru.cu).
// Portable twins: Backend.gru_sequence and gru_sequence_backward in nnx/backends/portable/gru.py;
// the derivation is in nnx/ops/gru.py.  Arrays are of STORE: float,
// double or Half; computed is in REAL.
//
//   x, gates (T, N, S, 3H), states and u_n (T, N, S, H), h0 (S, N, H); for each direction weight
//   (3H, H), or `across`, (H, 3H), the same transposed, and bias (3H,) of the input and of the
//   state, or null
//
// totals (N, S, 6H): the sums over time of the gradients of x and of u, 3H each: from them, the
// gradients of the biases.  h0 and the gradient gh_n may be null for zeros.
//
// One block for one sequence and direction, blockIdx = (sequence, s).  UNITS >= H is how many
// units there is room for; 3 * UNITS threads.
//
//     thread      0 ... UNITS-1 | UNITS ... | 2 UNITS ...      gate = thread / UNITS
//     forward     row of W of r | z | n  of its unit
//     backward    column of W, the rows of r | z | n
//
// A thread keeps the first HELD weights of its row or column in registers.  With 32 or 64 units
// these are all; with 128, whose weights are 192 KB, the rest is read again at each step, from the
// first-level cache, neighbouring threads from neighbouring addresses.
//
// The state stays on the chip.  Direction 1 scans from time T-1 back; a sequence that has ended
// (t >= lengths[n]) keeps its state.
//
// Bytes per unit and step, float: forward reads 3 x and writes 3 gates, h and u_n, 32; backward
// reads 3 gates, u_n, h and gy and writes 3 gx and 3 gu (3 gx with the reset before), 48.

__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(1) / (REAL(1) + exp(-x)); }

// One array for each direction, or two: the biases of the input and of the state.  As the launcher
// passes a list; null where there is none.
struct Arrays {
    const STORE* at[64];
};

__device__ __forceinline__ int time_of(int k, int s, int steps) {
    return s == 0 ? k : steps - 1 - k;
}

// Of 32 units, and of 128 with 170 registers a thread; numbers of 16 bits need some registers to be
// converted in.
constexpr int FEW_HELD = sizeof(STORE) == 2 ? 24 : 32;
constexpr int MOST_HELD = sizeof(STORE) == 2 ? 80 : sizeof(STORE) == 4 ? 96 : 40;

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

// What a thread is, and where its unit stands.
struct Place {
    int gate, unit, s;
    bool used, leads;         // a unit that is there; and the one of its threads that leads back
    long long length;         // of its sequence
    long long state;          // of its unit in (S, N, H)
    long long first, stride;  // its row in the arrays of the scan is first + t * stride
};

template <int UNITS>
__device__ __forceinline__ Place place_of_thread(const long long* lengths, int steps, int n,
                                                 int directions, int hidden) {
    Place p;
    const int sequence = blockIdx.x;
    p.s = blockIdx.y;
    p.gate = threadIdx.x / UNITS;
    p.unit = threadIdx.x % UNITS;
    p.used = p.unit < hidden;
    p.leads = p.used && p.gate == 0;
    p.length = lengths ? lengths[sequence] : steps;
    p.state = ((long long)p.s * n + sequence) * hidden + p.unit;
    p.first = (long long)sequence * directions + p.s;
    p.stride = (long long)n * directions;
    return p;
}

// The threads of gate n keep the state: by the time that they have u_n, r and z are known too.
template <int UNITS, int HELD, bool AFTER>
__device__ __forceinline__ void scan(const STORE* x, const STORE* h0, const Arrays& weight,
                                      const Arrays& bias, const long long* lengths, STORE* states,
                                      STORE* gates, STORE* u_n, STORE* h_n, int across, int steps,
                                      int n, int directions, int hidden) {
    alignas(16) __shared__ REAL h[UNITS], rh[UNITS];
    __shared__ REAL active[2 * UNITS];  // r, z
    const Place p = place_of_thread<UNITS>(lengths, steps, n, directions, hidden);
    const int column = p.gate * hidden + p.unit;

    const int count = p.used ? hidden : 0;
    REAL w[HELD];
    const STORE* weights = weight.at[p.s] + (across ? column : (long long)column * hidden);
    const int step = across ? 3 * hidden : 1;
    hold(w, weights, step, count);
    const STORE *of_x = bias.at[2 * p.s], *of_h = bias.at[2 * p.s + 1];
    const REAL b_x = p.used && of_x ? of_x[column] : REAL(0);
    const REAL b = p.used && of_h ? of_h[column] : REAL(0);

    REAL own_h = p.used && h0 ? h0[p.state] : REAL(0);
    if (p.gate == 2) h[p.unit] = own_h;
    __syncthreads();

    REAL ahead = 0;  // x of the next step, asked for a step before it is needed
    if (p.used) ahead = x[(p.first + time_of(0, p.s, steps) * p.stride) * 3 * hidden + column];
    for (int k = 0; k < steps; ++k) {
        const int t = time_of(k, p.s, steps);
        const long long now = p.first + t * p.stride;
        const REAL here = ahead + b_x;
        if (p.used && k + 1 < steps)
            ahead = x[(p.first + time_of(k + 1, p.s, steps) * p.stride) * 3 * hidden + column];

        REAL value = 0, last = 0;  // of this thread's gate; its u
        if (t < p.length) {     // the same for the whole block
            REAL u = 0;
            if (AFTER || p.gate < 2) u = product<UNITS>(w, weights, step, count, h) + b;
            last = u;
            if (p.gate < 2) {
                value = sigmoid(here + u);
                active[threadIdx.x] = value;
                if (!AFTER && p.gate == 0) rh[p.unit] = value * h[p.unit];
            }
            __syncthreads();
            if (p.gate == 2) {
                if (AFTER)
                    u *= active[p.unit];
                else
                    u = product<UNITS>(w, weights, step, count, rh) + b;
                value = tanh(here + u);
                const REAL z = active[UNITS + p.unit];
                own_h = (REAL(1) - z) * value + z * own_h;
                h[p.unit] = own_h;
            }
            __syncthreads();
        }
        if (p.used) {
            gates[now * 3 * hidden + column] = value;
            if (p.gate == 2) states[now * hidden + p.unit] = own_h;
            if (p.gate == 2 && AFTER) u_n[now * hidden + p.unit] = last;
        }
    }
    if (p.used && p.gate == 2) h_n[p.state] = own_h;
}

// What one step of the way back reads.
struct Step {
    REAL r, z, n, u_n, before, gy;
};

__device__ __forceinline__ Step read_step(const STORE* gy, const STORE* gates, const STORE* u_n,
                                          const STORE* states, const STORE* h0, const Place& p,
                                          int k, int steps, int hidden) {
    const long long now = p.first + time_of(k, p.s, steps) * p.stride;
    const long long earlier = p.first + time_of(k - 1, p.s, steps) * p.stride;
    const STORE* a = gates + now * 3 * hidden + p.unit;
    return Step{a[0], a[hidden], a[2 * hidden], u_n ? u_n[now * hidden + p.unit] : REAL(0),
                k ? states[earlier * hidden + p.unit] : h0 ? h0[p.state] : REAL(0),
                gy[now * hidden + p.unit]};
}

template <int UNITS, int HELD, bool AFTER>
__device__ __forceinline__ void scan_backward(const STORE* gy, const STORE* gh_n, const STORE* gates,
                                               const STORE* u_n, const STORE* states,
                                               const STORE* h0, const Arrays& weight,
                                               const long long* lengths, STORE* gx, STORE* gu,
                                               STORE* gh0, STORE* totals, int steps, int n, int directions,
                                               int hidden) {
    alignas(16) __shared__ REAL gradient[3 * UNITS];  // of u: r, z, n
    __shared__ REAL part[3 * UNITS];
    __shared__ REAL total[4 * UNITS];  // over time, of r, z, n and n's share of u
    const Place p = place_of_thread<UNITS>(lengths, steps, n, directions, hidden);

    const int count = p.used ? hidden : 0;
    REAL w[HELD];
    const STORE* weights = weight.at[p.s] + (long long)p.gate * hidden * hidden + p.unit;
    hold(w, weights, hidden, count);

    REAL gh = 0;
    Step ahead = {0, 0, 0, 0, 0, 0};
    if (p.leads) {
        for (int g = 0; g < 4; ++g) total[g * UNITS + p.unit] = 0;
        if (gh_n) gh = gh_n[p.state];
        ahead = read_step(gy, gates, u_n, states, h0, p, steps - 1, steps, hidden);
    }
    if (!p.used) gradient[threadIdx.x] = 0;  // units that are not there stay 0

    for (int k = steps - 1; k >= 0; --k) {
        const int t = time_of(k, p.s, steps);
        const long long now = p.first + t * p.stride;
        STORE* out = gx + now * 3 * hidden + p.unit;
        const Step here = ahead;
        if (p.leads && k > 0)
            ahead = read_step(gy, gates, u_n, states, h0, p, k - 1, steps, hidden);
        if (t >= p.length) {  // the whole block: the gradient of the state passes unchanged
            if (p.used) {
                out[p.gate * hidden] = 0;
                if (AFTER) gu[now * 3 * hidden + p.gate * hidden + p.unit] = 0;
            }
            continue;
        }

        REAL g_a = 0, g_r = 0, g_z = 0, direct = 0;
        if (p.leads) {
            gh += here.gy;
            g_a = gh * (REAL(1) - here.z) * (REAL(1) - here.n * here.n);
            g_z = gh * (here.before - here.n) * here.z * (REAL(1) - here.z);
            direct = gh * here.z;
            gradient[UNITS + p.unit] = g_z;
            if (AFTER) {
                g_r = g_a * here.u_n * here.r * (REAL(1) - here.r);
                gradient[p.unit] = g_r;
                gradient[2 * UNITS + p.unit] = g_a * here.r;
            } else {
                gradient[2 * UNITS + p.unit] = g_a;
            }
        }
        __syncthreads();
        if (AFTER || p.gate == 2)
            part[threadIdx.x] =
                product<UNITS>(w, weights, hidden, count, gradient + p.gate * UNITS);
        __syncthreads();
        if (!AFTER) {  // the gradient of r h is known now, and so that of r
            if (p.leads) {
                const REAL g_rh = part[2 * UNITS + p.unit];
                g_r = g_rh * here.before * here.r * (REAL(1) - here.r);
                gradient[p.unit] = g_r;
                direct += g_rh * here.r;
            }
            __syncthreads();
            if (p.gate < 2)
                part[threadIdx.x] =
                    product<UNITS>(w, weights, hidden, count, gradient + p.gate * UNITS);
            __syncthreads();
        }
        if (p.leads) {
            gh = direct + (part[p.unit] + part[UNITS + p.unit]);
            if (AFTER) gh += part[2 * UNITS + p.unit];
            out[0] = g_r;
            out[hidden] = g_z;
            out[2 * hidden] = g_a;
            if (AFTER) {
                STORE* through = gu + now * 3 * hidden + p.unit;
                through[0] = g_r;
                through[hidden] = g_z;
                through[2 * hidden] = g_a * here.r;
            }
            total[p.unit] += g_r;
            total[UNITS + p.unit] += g_z;
            total[2 * UNITS + p.unit] += g_a;
            total[3 * UNITS + p.unit] += AFTER ? g_a * here.r : g_a;
        }
    }
    if (p.leads) {
        gh0[p.state] = gh;
        STORE* out = totals + p.first * 6 * hidden + p.unit;
        for (int g = 0; g < 3; ++g) {
            out[g * hidden] = total[g * UNITS + p.unit];
            out[(3 + g) * hidden] = total[(g < 2 ? g : 3) * UNITS + p.unit];
        }
    }
}

// Each entry point once for each size of state.

#define SCAN_AFTER(units, threads, held)                                                      \
    extern "C" __global__ void __launch_bounds__(threads) gru_sequence_after_##units(         \
        const STORE* __restrict__ x, const STORE* __restrict__ h0, const Arrays weight,         \
        const Arrays bias, const long long* __restrict__ lengths, STORE* __restrict__ states,  \
        STORE* __restrict__ gates, STORE* __restrict__ u_n, STORE* __restrict__ h_n, int across, \
        int steps, int n, int directions, int hidden) {                                       \
        scan<units, held, true>(x, h0, weight, bias, lengths, states, gates, u_n, h_n,        \
            across, steps, n, directions, hidden);                                            \
    }

SCAN_AFTER(32, 96, 32)
SCAN_AFTER(64, 192, 64)
SCAN_AFTER(128, 384, MOST_HELD)

#define SCAN_BACKWARD_AFTER(units, threads, held)                                              \
    extern "C" __global__ void __launch_bounds__(threads) gru_sequence_backward_after_##units( \
        const STORE* __restrict__ gy, const STORE* __restrict__ gh_n,                            \
        const STORE* __restrict__ gates, const STORE* __restrict__ u_n,                          \
        const STORE* __restrict__ states, const STORE* __restrict__ h0, const Arrays weight,     \
        const long long* __restrict__ lengths, STORE* __restrict__ gx, STORE* __restrict__ gu,   \
        STORE* __restrict__ gh0, STORE* __restrict__ totals, int steps, int n, int directions,   \
        int hidden) {                                                                          \
        scan_backward<units, held, true>(gy, gh_n, gates, u_n, states, h0, weight,             \
            lengths, gx, gu, gh0, totals, steps, n, directions, hidden);                       \
    }

SCAN_BACKWARD_AFTER(32, 96, 32)
SCAN_BACKWARD_AFTER(64, 192, 64)
SCAN_BACKWARD_AFTER(128, 384, MOST_HELD)

#define SCAN_BEFORE(units, threads, held)                                                    \
    extern "C" __global__ void __launch_bounds__(threads) gru_sequence_before_##units(       \
        const STORE* __restrict__ x, const STORE* __restrict__ h0, const Arrays weight,        \
        const Arrays bias, const long long* __restrict__ lengths, STORE* __restrict__ states, \
        STORE* __restrict__ gates, STORE* __restrict__ h_n, int across, int steps, int n,      \
        int directions, int hidden) {                                                        \
        scan<units, held, false>(x, h0, weight, bias, lengths, states, gates, 0, h_n,        \
            across, steps, n, directions, hidden);                                           \
    }

SCAN_BEFORE(32, 96, FEW_HELD)
SCAN_BEFORE(64, 192, 64)
SCAN_BEFORE(128, 384, MOST_HELD)

#define SCAN_BACKWARD_BEFORE(units, threads, held)                                              \
    extern "C" __global__ void __launch_bounds__(threads) gru_sequence_backward_before_##units( \
        const STORE* __restrict__ gy, const STORE* __restrict__ gh_n,                             \
        const STORE* __restrict__ gates, const STORE* __restrict__ states,                        \
        const STORE* __restrict__ h0, const Arrays weight,                                       \
        const long long* __restrict__ lengths, STORE* __restrict__ gx, STORE* __restrict__ gh0,   \
        STORE* __restrict__ totals, int steps, int n, int directions, int hidden) {              \
        scan_backward<units, held, false>(gy, gh_n, gates, 0, states, h0, weight, lengths,      \
            gx, 0, gh0, totals, steps, n, directions, hidden);                                  \
    }

SCAN_BACKWARD_BEFORE(32, 96, 32)
SCAN_BACKWARD_BEFORE(64, 192, 64)
SCAN_BACKWARD_BEFORE(128, 384, MOST_HELD)
