// The whole scan of an LSTM of many hidden units in one launch.  lstm.cu has the formulas, and the
// scans of few units.
//
//   lstm_wide, lstm_wide_backward
//
// Portable twins: Backend.lstm_sequence and its backward in nnx/backends/portable/lstm.py.
// REAL is float or double.  Shapes: z, gates, gz (T, N, S, 4H), states, cells, gy (T, N, S, H), h0,
// c0 and their gradients (S, N, H); for each direction a weight (4H, H), and biases and their
// gradients (4H,); the pointers that may be null are those of lstm.cu.
//
// Bytes: forward as lstm.cu's scan, 40 a unit and step in float, and from the second-level cache
// 4 N H for each block and step; backward four times these.

#include "wide.cuh"

struct Gates {
    REAL i, f, g, o;
};

__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(1) / (REAL(1) + exp(-x)); }

extern "C" __global__ void __launch_bounds__(256, 1)
lstm_wide(const REAL* __restrict__ z, const REAL* __restrict__ h0, const REAL* __restrict__ c0,
          const Arrays weight, const Arrays bias, const long long* __restrict__ lengths,
          REAL* states, REAL* __restrict__ gates, REAL* cells, REAL* __restrict__ h_n,
          REAL* __restrict__ c_n, unsigned* arrived, int steps, int n, int directions,
          int hidden) {
    const Block b = block_of<4>(n, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_rows<4>(b, weight.at[b.s], hidden);
    Gates shift = {0, 0, 0, 0};
    for (int k = 0; k < 2; ++k) {
        const REAL* one = bias.at[2 * b.s + k];
        if (!one || b.unit >= hidden) continue;
        shift.i += one[b.unit];
        shift.f += one[hidden + b.unit];
        shift.g += one[2 * hidden + b.unit];
        shift.o += one[3 * hidden + b.unit];
    }

    for (int k = 0; k < steps; ++k) {
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            const Rows from = states_before(b, states, h0, k, base, steps, n, directions, hidden);
            if (from.first) product<4 * UNITS>(b, from, rows, hidden);
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL h = 0, c = 0;  // before this step: this very thread has written them
                if (k || c0) c = k ? cells[p.earlier * hidden + b.unit] : c0[p.own];
                if (k || h0) h = k ? states[p.earlier * hidden + b.unit] : h0[p.own];
                Gates a = {0, 0, 0, 0};
                if (!p.ended) {
                    Gates sum = shift;
                    if (from.first) {
                        const REAL* own = b.sums + e / UNITS * (4 * UNITS + 1) + b.u;
                        sum.i += own[0];
                        sum.f += own[UNITS];
                        sum.g += own[2 * UNITS];
                        sum.o += own[3 * UNITS];
                    }
                    const REAL* x = z + p.now * 4 * hidden + b.unit;
                    a.i = sigmoid(sum.i + x[0]);
                    a.f = sigmoid(sum.f + x[hidden]);
                    a.g = tanh(sum.g + x[2 * hidden]);
                    a.o = sigmoid(sum.o + x[3 * hidden]);
                    c = a.f * c + a.i * a.g;
                    h = a.o * tanh(c);
                }
                REAL* out = gates + p.now * 4 * hidden + b.unit;
                out[0] = a.i;
                out[hidden] = a.f;
                out[2 * hidden] = a.g;
                out[3 * hidden] = a.o;
                states[p.now * hidden + b.unit] = h;
                cells[p.now * hidden + b.unit] = c;
                if (k == steps - 1) {
                    h_n[p.own] = h;
                    c_n[p.own] = c;
                }
            }
        }
        if (k + 1 < steps) everybody(arrived + b.s, gridDim.x * (k + 1));
    }
}

// gh0 and gc0 hold what is carried from step to step, each number by one thread: the gradient of a
// state that passes ended steps unchanged, and that of the cell.
extern "C" __global__ void __launch_bounds__(256, 1)
lstm_wide_backward(const REAL* __restrict__ gy, const REAL* __restrict__ gh_n,
                   const REAL* __restrict__ gc_n, const REAL* __restrict__ gates,
                   const REAL* __restrict__ cells, const REAL* __restrict__ c0,
                   const Arrays weight, const long long* __restrict__ lengths, REAL* gz,
                   REAL* __restrict__ gh0, REAL* __restrict__ gc0, const Results gb,
                   unsigned* arrived, int steps, int n, int directions, int hidden) {
    const Block b = block_of<4>(n, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_columns<4>(b, weight.at[b.s], hidden);

    REAL total[4] = {0, 0, 0, 0};
    for (int k = steps - 1; k >= -1; --k) {  // -1: only the product is left
        const bool later = k < steps - 1;
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            if (later) {
                const Rows from = rows_of(gz, b, k + 1, base, steps, n, directions, 4 * hidden);
                product<UNITS>(b, from, rows, 4 * hidden);
            }
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL gh = 0, gc = 0;
                if (later) {
                    gh = b.sums[e / UNITS * (UNITS + 1) + b.u] + gh0[p.own];
                    gc = gc0[p.own];
                } else {
                    if (gh_n) gh = gh_n[p.own];
                    if (gc_n) gc = gc_n[p.own];
                }
                if (k < 0) {
                    gh0[p.own] = gh;
                    continue;
                }
                Gates g = {0, 0, 0, 0};
                REAL carry = gh + gy[p.now * hidden + b.unit];
                if (!p.ended) {
                    const REAL* a = gates + p.now * 4 * hidden + b.unit;
                    const REAL i = a[0], f = a[hidden], c = a[2 * hidden], o = a[3 * hidden];
                    const REAL old =
                        k ? cells[p.earlier * hidden + b.unit] : c0 ? c0[p.own] : REAL(0);
                    const REAL slope = tanh(cells[p.now * hidden + b.unit]);
                    gc += carry * o * (REAL(1) - slope * slope);
                    g = Gates{gc * c * i * (REAL(1) - i), gc * old * f * (REAL(1) - f),
                              gc * i * (REAL(1) - c * c), carry * slope * o * (REAL(1) - o)};
                    gc *= f;
                    carry = 0;
                }
                gh0[p.own] = carry;
                gc0[p.own] = gc;
                REAL* out = gz + p.now * 4 * hidden + b.unit;
                out[0] = g.i;
                out[hidden] = g.f;
                out[2 * hidden] = g.g;
                out[3 * hidden] = g.o;
                total[0] += g.i;
                total[1] += g.f;
                total[2] += g.g;
                total[3] += g.o;
            }
        }
        if (k >= 0) everybody(arrived + b.s, gridDim.x * (steps - k));
    }
    const REAL sum = over_threads(b, total);
    if (threadIdx.x < 4 * UNITS && b.unit < hidden)
        for (int k = 0; k < 2; ++k)
            if (gb.at[2 * b.s + k])
                gb.at[2 * b.s + k][threadIdx.x / UNITS * hidden + b.unit] = sum;
}
