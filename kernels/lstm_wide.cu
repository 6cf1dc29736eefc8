// The whole scan of an LSTM of many hidden units in one launch, whose blocks stay on the device and
// wait for each other after every step.  lstm.cu has the formulas, and the scans of few units.
//
//   lstm_wide, lstm_wide_backward       blockIdx = (slice of UNITS hidden units, direction)
//
// Portable twins: Backend.lstm_sequence and its backward in nnx/backends/portable/lstm.py.
// REAL is float or double.  Shapes: T time steps, N sequences, S directions, H units; z, gates, gz
// (T, N, S, 4H), states, cells, gy (T, N, S, H), h0, c0 and their gradients (S, N, H), a weight
// (4H, H) and a bias (4H,) for each direction; the pointers that may be null are those of lstm.cu.
//
// A block holds the weights of its units in shared memory from the first step to the last:
//
//     forward     the 4 rows of W of each unit            w[j][u] = {i, f, g, o},  4 UNITS H numbers
//     backward    the column of W of each unit            w[gate H + r][u]
//
// Forward, each step: all h[t-1] (N, H) are read, a tile of columns at a time, by every block, and
// each thread adds up the four pre-activations of one unit of one sequence.  Backward: all gz[t+1]
// (N, 4H) are read so; a thread adds up one gate's share of the gradients of UNITS units, the four
// shares meet in shared memory, and a thread for each unit goes on.
//
// h[t-1] and gz[t+1] are the arrays that are handed out: what a step reads was written at one time
// only, so nothing has to be written twice, and what was read is never written again.  They are
// read past the first-level cache, which another multiprocessor's writes do not reach.
//
// The blocks of a direction meet at `arrived[s]`, which begins as 0: a block adds 1 when its threads
// are through with step k, and goes on when blocks (k + 1) are there.  All blocks must be on the
// device at once: the launcher sees to it.
//
// Bytes: forward as lstm.cu's scan, 40 a unit and step in float, and from the second-level cache
// 4 N H for each block and step; backward four times these.

struct Arrays {
    const REAL* at[64];
};

struct alignas(16) Gates {
    REAL i, f, g, o;
};

#ifndef UNITS
#define UNITS 4
#endif

constexpr int THREADS = 256;
constexpr int AT_ONCE = THREADS / UNITS;  // sequences, forward
constexpr int TILE = 8 * UNITS;           // columns of h that are in shared memory
constexpr int ROWS = THREADS / 4;         // sequences, backward
constexpr int COLUMNS = 8;                // of each gate of gz

extern __shared__ __align__(16) REAL memory[];

__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(1) / (REAL(1) + exp(-x)); }

__device__ __forceinline__ int time_of(int k, int s, int steps) {
    return s == 0 ? k : steps - 1 - k;
}

// All threads of all blocks of a direction have done what comes before.
__device__ __forceinline__ void everybody(unsigned* arrived, unsigned goal) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (atomicAdd(arrived, 0u) < goal) __nanosleep(20);
        __threadfence();
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(256, 1)
lstm_wide(const REAL* __restrict__ z, const REAL* __restrict__ h0, const REAL* __restrict__ c0,
          const Arrays weight, const Arrays bias, const long long* __restrict__ lengths,
          REAL* states, REAL* __restrict__ gates, REAL* cells, REAL* __restrict__ h_n,
          REAL* __restrict__ c_n, unsigned* arrived, int steps, int n, int directions,
          int hidden) {
    Gates* w = (Gates*)memory;
    REAL* tile = memory + 4 * UNITS * hidden;  // (AT_ONCE, TILE + 1): rows in different banks
    const int s = blockIdx.y, first = blockIdx.x * UNITS;
    const int place = threadIdx.x / UNITS, u = threadIdx.x % UNITS, unit = first + u;
    const bool there = unit < hidden;

    for (int e = threadIdx.x; e < UNITS * hidden; e += THREADS) {
        const int own = e / hidden, j = e - own * hidden;
        const REAL* row = weight.at[s] + (long long)(first + own) * hidden + j;
        const long long next = (long long)hidden * hidden;
        Gates g = {0, 0, 0, 0};
        if (first + own < hidden) g = Gates{row[0], row[next], row[2 * next], row[3 * next]};
        w[j * UNITS + own] = g;
    }
    Gates b = {0, 0, 0, 0};
    for (int k = 0; k < 2; ++k) {
        const REAL* one = bias.at[2 * s + k];
        if (one && there) {
            b.i += one[unit];
            b.f += one[hidden + unit];
            b.g += one[2 * hidden + unit];
            b.o += one[3 * hidden + unit];
        }
    }

    for (int k = 0; k < steps; ++k) {
        const int t = time_of(k, s, steps), before = time_of(k - 1, s, steps);
        for (int base = 0; base < n; base += AT_ONCE) {
            const int sequence = base + place, rows = min(AT_ONCE, n - base);
            const bool active = there && sequence < n;
            Gates sum = b;
            for (int start = 0; start < hidden && (k || h0); start += TILE) {
                __syncthreads();
#pragma unroll 4
                for (int e = threadIdx.x; e < rows * TILE; e += THREADS) {
                    const int row = base + e / TILE, j = start + e % TILE;
                    REAL h = 0;
                    if (j < hidden)
                        h = k ? __ldcg(states + (((long long)before * n + row) * directions + s) *
                                                    hidden + j)
                              : h0[((long long)s * n + row) * hidden + j];
                    tile[e / TILE * (TILE + 1) + e % TILE] = h;
                }
                __syncthreads();
                const int count = min(TILE, hidden - start);
                for (int j = 0; active && j < count; ++j) {
                    const REAL h = tile[place * (TILE + 1) + j];
                    const Gates g = w[(start + j) * UNITS + u];
                    sum.i += g.i * h;
                    sum.f += g.f * h;
                    sum.g += g.g * h;
                    sum.o += g.o * h;
                }
            }
            if (!active) continue;
            const long long now = ((long long)t * n + sequence) * directions + s;
            const long long earlier = ((long long)before * n + sequence) * directions + s;
            const long long own = ((long long)s * n + sequence) * hidden + unit;
            REAL h = 0, c = 0;  // before this step: this very thread has written them
            if (k || c0) c = k ? cells[earlier * hidden + unit] : c0[own];
            if (k || h0) h = k ? states[earlier * hidden + unit] : h0[own];
            Gates a = {0, 0, 0, 0};
            if (!lengths || t < lengths[sequence]) {
                const REAL* x = z + now * 4 * hidden + unit;
                a.i = sigmoid(sum.i + x[0]);
                a.f = sigmoid(sum.f + x[hidden]);
                a.g = tanh(sum.g + x[2 * hidden]);
                a.o = sigmoid(sum.o + x[3 * hidden]);
                c = a.f * c + a.i * a.g;
                h = a.o * tanh(c);
            }
            REAL* out = gates + now * 4 * hidden + unit;
            out[0] = a.i;
            out[hidden] = a.f;
            out[2 * hidden] = a.g;
            out[3 * hidden] = a.o;
            states[now * hidden + unit] = h;
            cells[now * hidden + unit] = c;
            if (k == steps - 1) {
                h_n[own] = h;
                c_n[own] = c;
            }
        }
        if (k + 1 < steps) everybody(arrived + s, gridDim.x * (k + 1));
    }
}

// gh0, gc0 and totals hold what is carried from step to step, each number by one thread: the
// gradient of a state that passes ended steps unchanged, that of the cell, the sums of gz.
extern "C" __global__ void __launch_bounds__(256, 1)
lstm_wide_backward(const REAL* __restrict__ gy, const REAL* __restrict__ gh_n,
                   const REAL* __restrict__ gc_n, const REAL* __restrict__ gates,
                   const REAL* __restrict__ cells, const REAL* __restrict__ c0,
                   const Arrays weight, const long long* __restrict__ lengths, REAL* gz,
                   REAL* __restrict__ gh0, REAL* __restrict__ gc0, REAL* __restrict__ totals,
                   unsigned* arrived, int steps, int n, int directions, int hidden) {
    REAL* w = memory;
    REAL* tile = memory + 4 * UNITS * hidden;  // (4, ROWS, COLUMNS + 1); then the shares
    const int s = blockIdx.y, first = blockIdx.x * UNITS;
    const int gate = threadIdx.x / ROWS, lane = threadIdx.x % ROWS;  // of the product
    const int place = threadIdx.x / UNITS, u = threadIdx.x % UNITS, unit = first + u;

    for (int e = threadIdx.x; e < 4 * hidden * UNITS; e += THREADS) {
        const int own = e % UNITS;
        w[e] = first + own < hidden
                   ? weight.at[s][(long long)(e / UNITS) * hidden + first + own] : REAL(0);
    }

    for (int k = steps - 1; k >= -1; --k) {  // -1: only the product is left
        const int t = time_of(k, s, steps), after = time_of(k + 1, s, steps);
        for (int base = 0; base < n; base += ROWS) {
            const int rows = min(ROWS, n - base);
            REAL share[UNITS] = {};
            for (int start = 0; start < hidden && k < steps - 1; start += COLUMNS) {
                __syncthreads();
#pragma unroll 4
                for (int e = lane; e < rows * COLUMNS; e += ROWS) {
                    const int j = start + e % COLUMNS, row = base + e / COLUMNS;
                    REAL g = 0;
                    if (j < hidden)
                        g = __ldcg(gz + (((long long)after * n + row) * directions + s) * 4 *
                                            hidden + gate * hidden + j);
                    tile[(gate * ROWS + e / COLUMNS) * (COLUMNS + 1) + e % COLUMNS] = g;
                }
                __syncthreads();
                const int count = min(COLUMNS, hidden - start);
                for (int j = 0; lane < rows && j < count; ++j) {
                    const REAL g = tile[(gate * ROWS + lane) * (COLUMNS + 1) + j];
                    const REAL* row = w + (gate * hidden + start + j) * UNITS;
#pragma unroll
                    for (int i = 0; i < UNITS; ++i) share[i] += g * row[i];
                }
            }
            __syncthreads();
#pragma unroll
            for (int i = 0; i < UNITS; ++i) tile[(gate * ROWS + lane) * UNITS + i] = share[i];
            __syncthreads();
            const int sequence = base + place;
            if (place >= ROWS || unit >= hidden || sequence >= n) continue;

            const long long own = ((long long)s * n + sequence) * hidden + unit;
            const REAL back = (tile[place * UNITS + u] + tile[(ROWS + place) * UNITS + u]) +
                              (tile[(2 * ROWS + place) * UNITS + u] +
                               tile[(3 * ROWS + place) * UNITS + u]);
            REAL gh = back, gc = 0;
            if (k < steps - 1) {
                gh += gh0[own];
                gc = gc0[own];
            } else {
                if (gh_n) gh = gh_n[own];
                if (gc_n) gc = gc_n[own];
            }
            if (k < 0) {
                gh0[own] = gh;
                continue;
            }
            const long long now = ((long long)t * n + sequence) * directions + s;
            Gates g = {0, 0, 0, 0};
            REAL carry = gh + gy[now * hidden + unit];
            if (!lengths || t < lengths[sequence]) {
                const REAL* a = gates + now * 4 * hidden + unit;
                const REAL i = a[0], f = a[hidden], c = a[2 * hidden], o = a[3 * hidden];
                const long long earlier =
                    ((long long)time_of(k - 1, s, steps) * n + sequence) * directions + s;
                const REAL old = k ? cells[earlier * hidden + unit] : c0 ? c0[own] : REAL(0);
                const REAL slope = tanh(cells[now * hidden + unit]);
                gc += carry * o * (REAL(1) - slope * slope);
                g = Gates{gc * c * i * (REAL(1) - i), gc * old * f * (REAL(1) - f),
                          gc * i * (REAL(1) - c * c), carry * slope * o * (REAL(1) - o)};
                gc *= f;
                carry = 0;
            }
            gh0[own] = carry;
            gc0[own] = gc;
            REAL* out = gz + now * 4 * hidden + unit;
            out[0] = g.i;
            out[hidden] = g.f;
            out[2 * hidden] = g.g;
            out[3 * hidden] = g.o;
            REAL* total = totals + ((long long)sequence * directions + s) * 4 * hidden + unit;
            const bool begun = k < steps - 1;
            total[0] = begun ? total[0] + g.i : g.i;
            total[hidden] = begun ? total[hidden] + g.f : g.f;
            total[2 * hidden] = begun ? total[2 * hidden] + g.g : g.g;
            total[3 * hidden] = begun ? total[3 * hidden] + g.o : g.o;
        }
        if (k >= 0) everybody(arrived + s, gridDim.x * (steps - k));
    }
}
