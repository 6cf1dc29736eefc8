// The LSTM: one time step, and whole sequences of layers with few hidden units.
//
//   i, f, o = sigmoid, g = tanh of their quarter of z[t] + W h[t-1]
//   c[t] = f c[t-1] + i g,   h[t] = o tanh(c[t])
//
//   lstm_cell               the elementwise half of one time step, when a matrix product has made
//                           u = W h[t-1] for all sequences at once
//   lstm_sequence_*         the whole scan over time in one launch, for at most 32, 64 or 128
//                           units
//   each with _backward
//
// Portable twins: Backend.lstm_cell, lstm_sequence and their backward in
// nnx/backends/portable/lstm.py; the derivation is in nnx/ops/lstm.py.  Arrays are of STORE: float,
// double or Half; computed is in REAL.
//
// Shapes: T time steps, N sequences, S directions, H units.
//
//   z, gates          (T, N, S, 4H)   pre-activations but for u; i, f, g, o
//   states, cells     (T, N, S, H)    h and c after each step, at the step's own time
//   h, c, u           (S, N, H), (S, N, H), (S, N, 4H)   of one step
//   weight            (4H, H) for each direction; or `across`, (H, 4H), the same transposed
//   bias              (4H,) for each direction, of the input and of the state, or null
//
// totals (N, S, 4H) are the sums of gz over time: from them, the gradients of the biases.
//
// h0, c0 and the gradients gh_n, gc_n may be null for zeros.
//
// Direction 0 scans from time 0 on, direction 1 from time T-1 back: step k is time k or T-1-k.
// A sequence that has ended (t >= lengths[n]) keeps its state, whichever way the scan goes.
//
// Bytes per unit and step, float.  Cell: forward reads 4 z, 4 u, c and writes 4 gates, c, h and
// their copies in cells and states, 68; backward about the same.  Sequence: forward reads 4 z and
// writes 4 gates, c and h, 40; the state never leaves the chip, and the weights are read once, but
// for those beyond HELD columns, which are read at each step, from the first-level cache.

__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(1) / (REAL(1) + exp(-x)); }

// One unit's gradients.  dh/dc' = o (1 - tanh(c')^2) joins what came from the next step; the
// slopes of the gates are i (1-i), f (1-f), 1 - g^2, o (1-o).
struct UnitGradients {
    REAL i, f, g, o, c;  // of the four pre-activations, and of the cell before
};

__device__ __forceinline__ UnitGradients unit_backward(REAL gh, REAL gc, REAL i, REAL f, REAL g,
                                                       REAL o, REAL before, REAL after) {
    const REAL tanh_c = tanh(after);
    gc += gh * o * (REAL(1) - tanh_c * tanh_c);
    return UnitGradients{gc * g * i * (REAL(1) - i), gc * before * f * (REAL(1) - f),
                         gc * i * (REAL(1) - g * g), gh * tanh_c * o * (REAL(1) - o), gc * f};
}

// One array for each direction, or two: the biases of the input and of the state.  As the launcher
// passes a list; null where there is none.
struct Arrays {
    const STORE* at[64];
};

__device__ __forceinline__ int time_of(int k, int s, int steps) {
    return s == 0 ? k : steps - 1 - k;
}

// ---- one time step ----

// One thread for one unit of one sequence in one direction.  What is written at this time only
// (gates, cells, states) may be left out with a null pointer, except gates.
extern "C" __global__ void __launch_bounds__(256)
lstm_cell(const STORE* __restrict__ z, const STORE* __restrict__ u, const STORE* __restrict__ h,
          const STORE* __restrict__ c, const long long* __restrict__ lengths,
          STORE* __restrict__ gates, STORE* __restrict__ h_next, STORE* __restrict__ c_next,
          STORE* __restrict__ states, STORE* __restrict__ cells, int k, int steps, int n,
          int directions, int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;  // (s * n + sequence) * hidden + unit
    if (e >= directions * n * hidden) return;
    const int row = e / hidden, unit = e - row * hidden, s = row / n, sequence = row - s * n;
    const int t = time_of(k, s, steps);
    const long long now = ((long long)t * n + sequence) * directions + s;

    REAL a[4];  // pre-activations, then gates
    for (int gate = 0; gate < 4; ++gate) {
        a[gate] = z[(now * 4 + gate) * hidden + unit];
        if (u) a[gate] += u[((long long)row * 4 + gate) * hidden + unit];
        a[gate] = gate == 2 ? tanh(a[gate]) : sigmoid(a[gate]);
        gates[(now * 4 + gate) * hidden + unit] = a[gate];
    }
    REAL new_c = a[1] * c[e] + a[0] * a[2], new_h = a[3] * tanh(new_c);
    if (lengths && t >= lengths[sequence]) {
        new_c = c[e];
        new_h = h[e];
    }
    h_next[e] = new_h;
    c_next[e] = new_c;
    if (states) states[now * hidden + unit] = new_h;
    if (cells) cells[now * hidden + unit] = new_c;
}

// The same thread's way back.  The gradient of h is the sum of what the output hands down (gy),
// of what the later step hands back through the product (back = gz W) and of `carry`, the gradient
// of a state that passed an ended sequence unchanged.
extern "C" __global__ void __launch_bounds__(256)
lstm_cell_backward(const STORE* __restrict__ gy, const STORE* __restrict__ back,
                   const STORE* __restrict__ carry, const STORE* __restrict__ gc,
                   const STORE* __restrict__ gates, const STORE* __restrict__ cells,
                   const STORE* __restrict__ c0, const long long* __restrict__ lengths,
                   STORE* __restrict__ gz, STORE* __restrict__ gz_now,
                   STORE* __restrict__ carry_next, STORE* __restrict__ gc_next, int k, int steps,
                   int n, int directions, int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const int row = e / hidden, unit = e - row * hidden, s = row / n, sequence = row - s * n;
    const int t = time_of(k, s, steps);
    const long long now = ((long long)t * n + sequence) * directions + s;
    const long long earlier =
        ((long long)time_of(k - 1, s, steps) * n + sequence) * directions + s;

    REAL gh = gy[now * hidden + unit];
    if (back) gh += back[e];
    if (carry) gh += carry[e];
    UnitGradients g = {0, 0, 0, 0, gc[e]};
    const bool ended = lengths && t >= lengths[sequence];
    if (!ended) {
        const STORE* a = gates + now * 4 * hidden + unit;
        const REAL before = k == 0 ? c0[e] : cells[earlier * hidden + unit];
        g = unit_backward(gh, g.c, a[0], a[hidden], a[2 * hidden], a[3 * hidden], before,
                          cells[now * hidden + unit]);
    }
    STORE* out = gz + now * 4 * hidden + unit;
    out[0] = g.i;
    out[hidden] = g.f;
    out[2 * hidden] = g.g;
    out[3 * hidden] = g.o;
    if (gz_now) {
        STORE* copy = gz_now + (long long)row * 4 * hidden + unit;
        copy[0] = g.i;
        copy[hidden] = g.f;
        copy[2 * hidden] = g.g;
        copy[3 * hidden] = g.o;
    }
    if (carry_next) carry_next[e] = ended ? gh : REAL(0);
    gc_next[e] = g.c;
}

// ---- the whole scan ----
//
// One block for one sequence and direction, blockIdx = (sequence, s): sequences do not wait for
// each other.  UNITS >= H is how many units there is room for, 4 * UNITS threads.
//
//     thread      0 ... UNITS-1 | UNITS ... | 2 UNITS ... | 3 UNITS ...      gate = thread / UNITS
//     forward     row of W of gate i        | f | g | o  of its unit
//     backward    column of W, the rows of gate i | f | g | o
//
// A thread keeps the first HELD weights of its row or column in registers.  With 32 or 64 units
// these are all; 128 units have 512 threads, and 256 KB of weights, as much as all registers of a
// multiprocessor: so half of them (doubles: four fifths) are read again at each step,
// neighbouring threads from neighbouring addresses.
//
// A step is a product of the weights with a vector in shared memory (h, or the gradients of the
// gates), a barrier, the elementwise part by the first UNITS threads, a barrier.  What the next
// step reads from memory is asked for before the product, so that it is there in time.

// Of 128 units, with 128 registers a thread; numbers of 16 bits need some to be converted in.
constexpr int HALF_HELD = sizeof(STORE) == 2 ? 56 : sizeof(STORE) == 4 ? 64 : 24;

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
__device__ __forceinline__ void scan(const STORE* z, const STORE* h0, const STORE* c0,
                                      const Arrays& weight, const Arrays& bias,
                                      const long long* lengths, STORE* states, STORE* gates,
                                      STORE* cells, STORE* h_n, STORE* c_n, int across, int steps,
                                      int n, int directions, int hidden) {
    alignas(16) __shared__ REAL h[UNITS];
    __shared__ REAL active[4 * UNITS];
    const int sequence = blockIdx.x, s = blockIdx.y;
    const int gate = threadIdx.x / UNITS, unit = threadIdx.x % UNITS;
    const bool used = unit < hidden;
    const long long length = lengths ? lengths[sequence] : steps;

    const int column = gate * hidden + unit, count = used ? hidden : 0;
    REAL w[HELD];
    const STORE* weights = weight.at[s] + (across ? column : (long long)column * hidden);
    const int step = across ? 4 * hidden : 1;
    hold(w, weights, step, count);
    REAL b = used && bias.at[2 * s] ? bias.at[2 * s][column] : REAL(0);
    if (used && bias.at[2 * s + 1]) b += bias.at[2 * s + 1][column];

    const long long start = ((long long)s * n + sequence) * hidden + unit;
    REAL own_h = used && h0 ? h0[start] : REAL(0), own_c = used && c0 ? c0[start] : REAL(0);
    if (gate == 0) h[unit] = own_h;
    __syncthreads();

    const long long first = (long long)sequence * directions + s;
    const long long stride = (long long)n * directions;
    REAL ahead = used ? z[(first + time_of(0, s, steps) * stride) * 4 * hidden + column] : REAL(0);
    for (int k = 0; k < steps; ++k) {
        const int t = time_of(k, s, steps);
        const long long now = first + t * stride;
        const REAL here = ahead;
        if (used && k + 1 < steps)
            ahead = z[(first + time_of(k + 1, s, steps) * stride) * 4 * hidden + column];

        REAL value = 0;
        if (t < length) {  // the same for the whole block
            value = here + b + product<UNITS>(w, weights, step, count, h);
            value = gate == 2 ? tanh(value) : sigmoid(value);
            active[threadIdx.x] = value;
            __syncthreads();
            if (gate == 0) {
                own_c = active[UNITS + unit] * own_c + value * active[2 * UNITS + unit];
                own_h = active[3 * UNITS + unit] * tanh(own_c);
                h[unit] = own_h;
            }
            __syncthreads();
        }
        if (used) {
            gates[now * 4 * hidden + column] = value;
            if (gate == 0) {
                states[now * hidden + unit] = own_h;
                cells[now * hidden + unit] = own_c;
            }
        }
    }
    if (used && gate == 0) {
        h_n[start] = own_h;
        c_n[start] = own_c;
    }
}

// What one step of the way back reads.
struct Step {
    REAL i, f, g, o, before, gy;
};

__device__ __forceinline__ Step read_step(const STORE* gates, const STORE* cells, const STORE* c0,
                                          const STORE* gy, long long start, long long first,
                                          long long stride, int k, int s, int steps, int hidden,
                                          int unit) {
    const long long now = first + time_of(k, s, steps) * stride;
    const long long earlier = first + time_of(k - 1, s, steps) * stride;
    const STORE* a = gates + now * 4 * hidden + unit;
    return Step{a[0], a[hidden], a[2 * hidden], a[3 * hidden],
                k ? cells[earlier * hidden + unit] : c0 ? c0[start] : REAL(0), gy[now * hidden + unit]};
}

template <int UNITS, int HELD>
__device__ __forceinline__ void scan_backward(const STORE* gy, const STORE* gh_n, const STORE* gc_n,
                                               const STORE* gates, const STORE* cells,
                                               const STORE* c0, const Arrays& weight,
                                               const long long* lengths, STORE* gz, STORE* gh0,
                                               STORE* gc0, STORE* totals, int steps, int n, int directions,
                                               int hidden) {
    alignas(16) __shared__ REAL gradient[4 * UNITS];
    __shared__ REAL part[4 * UNITS];
    __shared__ REAL total[4 * UNITS];  // of gz over time: each unit's by the thread that leads it
    const int sequence = blockIdx.x, s = blockIdx.y;
    const int gate = threadIdx.x / UNITS, unit = threadIdx.x % UNITS;
    const bool used = unit < hidden, leads = used && gate == 0;
    const long long length = lengths ? lengths[sequence] : steps;

    const int count = used ? hidden : 0;
    REAL w[HELD];
    const STORE* weights = weight.at[s] + (long long)gate * hidden * hidden + unit;
    hold(w, weights, hidden, count);

    const long long start = ((long long)s * n + sequence) * hidden + unit;
    const long long first = (long long)sequence * directions + s;
    const long long stride = (long long)n * directions;
    REAL gh = 0, gc = 0, after = 0;
    Step ahead = {0, 0, 0, 0, 0, 0};
    if (leads) {
        for (int g = 0; g < 4; ++g) total[g * UNITS + unit] = 0;
        if (gh_n) gh = gh_n[start];
        if (gc_n) gc = gc_n[start];
        after = cells[(first + time_of(steps - 1, s, steps) * stride) * hidden + unit];
        ahead = read_step(gates, cells, c0, gy, start, first, stride, steps - 1, s, steps, hidden,
                          unit);
    }
    if (!used) gradient[threadIdx.x] = 0;  // units that are not there stay 0

    for (int k = steps - 1; k >= 0; --k) {
        const int t = time_of(k, s, steps);
        STORE* out = gz + (first + t * stride) * 4 * hidden + unit;
        const Step here = ahead;
        if (leads && k > 0)
            ahead = read_step(gates, cells, c0, gy, start, first, stride, k - 1, s, steps, hidden,
                              unit);
        if (t >= length) {  // the whole block: the gradients of the state pass unchanged
            if (used) out[gate * hidden] = 0;
        } else {
            if (leads) {
                const UnitGradients g = unit_backward(gh + here.gy, gc, here.i, here.f, here.g,
                                                      here.o, here.before, after);
                out[0] = gradient[unit] = g.i;
                out[hidden] = gradient[UNITS + unit] = g.f;
                out[2 * hidden] = gradient[2 * UNITS + unit] = g.g;
                out[3 * hidden] = gradient[3 * UNITS + unit] = g.o;
                gc = g.c;
                total[unit] += g.i;
                total[UNITS + unit] += g.f;
                total[2 * UNITS + unit] += g.g;
                total[3 * UNITS + unit] += g.o;
            }
            __syncthreads();
            part[threadIdx.x] =
                product<UNITS>(w, weights, hidden, count, gradient + gate * UNITS);
            __syncthreads();
            if (leads)
                gh = (part[unit] + part[UNITS + unit]) +
                     (part[2 * UNITS + unit] + part[3 * UNITS + unit]);
        }
        after = here.before;
    }
    if (leads) {
        gh0[start] = gh;
        gc0[start] = gc;
        for (int g = 0; g < 4; ++g)
            totals[(first * 4 + g) * hidden + unit] = total[g * UNITS + unit];
    }
}

// Each entry point once for each size of state.

#define SCAN(units, threads, held)                                                            \
    extern "C" __global__ void __launch_bounds__(threads) lstm_sequence_##units(              \
        const STORE* __restrict__ z, const STORE* __restrict__ h0, const STORE* __restrict__ c0, \
        const Arrays weight, const Arrays bias, const long long* __restrict__ lengths,        \
        STORE* __restrict__ states, STORE* __restrict__ gates, STORE* __restrict__ cells,        \
        STORE* __restrict__ h_n, STORE* __restrict__ c_n, int across, int steps, int n,         \
        int directions, int hidden) {                                                         \
        scan<units, held>(z, h0, c0, weight, bias, lengths, states, gates, cells, h_n,        \
            c_n, across, steps, n, directions, hidden);                                       \
    }

SCAN(32, 128, 32)
SCAN(64, 256, 64)
SCAN(128, 512, HALF_HELD)

#define SCAN_BACKWARD(units, threads, held)                                                   \
    extern "C" __global__ void __launch_bounds__(threads) lstm_sequence_backward_##units(     \
        const STORE* __restrict__ gy, const STORE* __restrict__ gh_n,                           \
        const STORE* __restrict__ gc_n, const STORE* __restrict__ gates,                        \
        const STORE* __restrict__ cells, const STORE* __restrict__ c0, const Arrays weight,     \
        const long long* __restrict__ lengths, STORE* __restrict__ gz, STORE* __restrict__ gh0, \
        STORE* __restrict__ gc0, STORE* __restrict__ totals, int steps, int n, int directions,  \
        int hidden) {                                                                         \
        scan_backward<units, held>(gy, gh_n, gc_n, gates, cells, c0, weight, lengths, gz,     \
            gh0, gc0, totals, steps, n, directions, hidden);                                  \
    }

SCAN_BACKWARD(32, 128, 32)
SCAN_BACKWARD(64, 256, 64)
SCAN_BACKWARD(128, 512, HALF_HELD)
