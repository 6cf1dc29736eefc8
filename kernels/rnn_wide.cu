// The whole scan of a simple recurrent layer of many hidden units in one launch.  rnn.cu has the
// formulas, and the scans of few units.
//
//   rnn_wide, rnn_wide_backward
//
// Portable twins: Backend.rnn_sequence and its backward in nnx/backends/portable/rnn.py.  REAL is
// float or double.  Shapes: z, states, gy, gz (T, N, S, H), h0 and its gradient (S, N, H); for each
// direction a weight (H, H), and biases and their gradients (H,); the pointers that may be null are
// those of rnn.cu.
//
// Bytes: as rnn.cu's scans, 8 a unit and step in float, 12 on the way back, and from the
// second-level cache 4 N H for each block and step.

#include "wide.cuh"

__device__ __forceinline__ REAL activated(REAL a, int relu) {
    if (!relu) return tanh(a);
    return a <= REAL(0) ? REAL(0) : a;  // NaN stays NaN
}

// f' from the output alone: 1 - h^2, or 1 where h > 0.
__device__ __forceinline__ REAL slope(REAL h, int relu) {
    if (!relu) return REAL(1) - h * h;
    return h > REAL(0) ? REAL(1) : REAL(0);
}

extern "C" __global__ void __launch_bounds__(256, 1)
rnn_wide(const REAL* __restrict__ z, const REAL* __restrict__ h0, const Arrays weight,
         const Arrays bias, const long long* __restrict__ lengths, REAL* states,
         REAL* __restrict__ h_n, int relu, unsigned* arrived, int steps, int n, int directions,
         int hidden) {
    const Block b = block_of<1>(n, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_rows<1>(b, weight.at[b.s], hidden);
    REAL shift = 0;
    for (int k = 0; k < 2; ++k)
        if (bias.at[2 * b.s + k] && b.unit < hidden) shift += bias.at[2 * b.s + k][b.unit];

    for (int k = 0; k < steps; ++k) {
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            const Rows from = states_before(b, states, h0, k, base, steps, n, directions, hidden);
            if (from.first) product<UNITS>(b, from, rows, hidden);
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL h = 0;  // before this step: this very thread has written it
                if (k || h0) h = k ? states[p.earlier * hidden + b.unit] : h0[p.own];
                if (!p.ended) {
                    REAL a = z[p.now * hidden + b.unit] + shift;
                    if (from.first) a += b.sums[e / UNITS * (UNITS + 1) + b.u];
                    h = activated(a, relu);
                }
                states[p.now * hidden + b.unit] = h;
                if (k == steps - 1) h_n[p.own] = h;
            }
        }
        if (k + 1 < steps) everybody(arrived + b.s, gridDim.x * (k + 1));
    }
}

// gh0 holds the gradient of a state that passes ended steps unchanged, each number by one thread.
extern "C" __global__ void __launch_bounds__(256, 1)
rnn_wide_backward(const REAL* __restrict__ gy, const REAL* __restrict__ gh_n,
                  const REAL* __restrict__ states, const Arrays weight,
                  const long long* __restrict__ lengths, REAL* gz, REAL* __restrict__ gh0,
                  const Results gb, int relu, unsigned* arrived, int steps, int n, int directions,
                  int hidden) {
    const Block b = block_of<1>(n, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_columns<1>(b, weight.at[b.s], hidden);

    REAL total[1] = {0};
    for (int k = steps - 1; k >= -1; --k) {  // -1: only the product is left
        const bool later = k < steps - 1;
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            if (later) {
                const Rows from = rows_of(gz, b, k + 1, base, steps, n, directions, hidden);
                product<UNITS>(b, from, rows, hidden);
            }
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL gh = gh_n ? gh_n[p.own] : REAL(0);
                if (later) gh = b.sums[e / UNITS * (UNITS + 1) + b.u] + gh0[p.own];
                if (k < 0) {
                    gh0[p.own] = gh;
                    continue;
                }
                gh += gy[p.now * hidden + b.unit];
                const REAL g = p.ended ? REAL(0) : gh * slope(states[p.now * hidden + b.unit], relu);
                gh0[p.own] = p.ended ? gh : REAL(0);
                gz[p.now * hidden + b.unit] = g;
                total[0] += g;
            }
        }
        if (k >= 0) everybody(arrived + b.s, gridDim.x * (steps - k));
    }
    const REAL sum = over_threads(b, total);
    if (threadIdx.x < UNITS && b.unit < hidden)
        for (int k = 0; k < 2; ++k)
            if (gb.at[2 * b.s + k]) gb.at[2 * b.s + k][b.unit] = sum;
}
