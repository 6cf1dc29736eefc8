// The whole scan of a GRU of many hidden units in one launch.  gru.cu has the formulas,
// gru_sequence.cu the scans of few units.
//
//   gru_wide, gru_wide_backward                  the reset after the product
//   gru_wide_before, gru_wide_before_backward    before it: two products a step, which all await
//
// Portable twins: Backend.gru_sequence and its backward in nnx/backends/portable/gru.py.  REAL is
// float or double.  Shapes: x, gates, gx, gu (T, N, S, 3H), states, u_n, gy (T, N, S, H), h0 and its
// gradient (S, N, H); for each direction a weight (3H, H), and biases and their gradients (3H,), of
// the input and of the state; the pointers that may be null are those of gru_sequence.cu.
//
// Bytes: as gru_sequence.cu, 32 a unit and step in float, 48 on the way back, and from the
// second-level cache 4 N H for each block and step, three times these on the way back; with the
// reset before, 8 N H and 12 N H.

#include "wide.cuh"

__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(1) / (REAL(1) + exp(-x)); }

extern "C" __global__ void __launch_bounds__(256, 1)
gru_wide(const REAL* __restrict__ x, const REAL* __restrict__ h0, const Arrays weight,
         const Arrays bias, const long long* __restrict__ lengths, REAL* states,
         REAL* __restrict__ gates, REAL* __restrict__ u_n, REAL* __restrict__ h_n,
         unsigned* arrived, int steps, int n, int directions, int hidden) {
    const Block b = block_of<3>(n, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_rows<3>(b, weight.at[b.s], hidden);
    REAL of_x[3] = {0, 0, 0}, of_h[3] = {0, 0, 0};  // biases
#pragma unroll
    for (int g = 0; g < 3; ++g) {
        const REAL *in = bias.at[2 * b.s], *through = bias.at[2 * b.s + 1];
        if (in && b.unit < hidden) of_x[g] = in[g * hidden + b.unit];
        if (through && b.unit < hidden) of_h[g] = through[g * hidden + b.unit];
    }

    for (int k = 0; k < steps; ++k) {
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            const Rows from = states_before(b, states, h0, k, base, steps, n, directions, hidden);
            if (from.first) product<3 * UNITS>(b, from, rows, hidden);
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL h = 0;  // before this step: this very thread has written it
                if (k || h0) h = k ? states[p.earlier * hidden + b.unit] : h0[p.own];
                REAL r = 0, keep = 0, candidate = 0, last = 0;
                if (!p.ended) {
                    REAL u[3];
                    const REAL* in = x + p.now * 3 * hidden + b.unit;
                    const REAL* own = b.sums + e / UNITS * (3 * UNITS + 1) + b.u;
#pragma unroll
                    for (int g = 0; g < 3; ++g)
                        u[g] = (from.first ? own[g * UNITS] : REAL(0)) + of_h[g];
                    r = sigmoid(in[0] + of_x[0] + u[0]);
                    keep = sigmoid(in[hidden] + of_x[1] + u[1]);
                    last = u[2];
                    candidate = tanh(in[2 * hidden] + of_x[2] + r * last);
                    h = (REAL(1) - keep) * candidate + keep * h;
                }
                REAL* out = gates + p.now * 3 * hidden + b.unit;
                out[0] = r;
                out[hidden] = keep;
                out[2 * hidden] = candidate;
                u_n[p.now * hidden + b.unit] = last;
                states[p.now * hidden + b.unit] = h;
                if (k == steps - 1) h_n[p.own] = h;
            }
        }
        if (k + 1 < steps) everybody(arrived + b.s, gridDim.x * (k + 1));
    }
}

// gh0 holds what reaches the state before directly, from step to step, each number by one thread.
extern "C" __global__ void __launch_bounds__(256, 1)
gru_wide_backward(const REAL* __restrict__ gy, const REAL* __restrict__ gh_n,
                  const REAL* __restrict__ gates, const REAL* __restrict__ u_n,
                  const REAL* __restrict__ states, const REAL* __restrict__ h0,
                  const Arrays weight, const long long* __restrict__ lengths,
                  REAL* __restrict__ gx, REAL* gu, REAL* __restrict__ gh0, const Results gb,
                  unsigned* arrived, int steps, int n, int directions, int hidden) {
    const Block b = block_of<3>(n, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_columns<3>(b, weight.at[b.s], hidden);

    REAL total[4] = {0, 0, 0, 0};  // of r, z, n and n's share of u
    for (int k = steps - 1; k >= -1; --k) {  // -1: only the product is left
        const bool later = k < steps - 1;
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            if (later) {
                const Rows from = rows_of(gu, b, k + 1, base, steps, n, directions, 3 * hidden);
                product<UNITS>(b, from, rows, 3 * hidden);
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
                REAL g_r = 0, g_z = 0, g_a = 0, g_u = 0;
                if (!p.ended) {
                    const REAL* a = gates + p.now * 3 * hidden + b.unit;
                    const REAL r = a[0], keep = a[hidden], candidate = a[2 * hidden];
                    const REAL h =
                        k ? states[p.earlier * hidden + b.unit] : h0 ? h0[p.own] : REAL(0);
                    g_a = gh * (REAL(1) - keep) * (REAL(1) - candidate * candidate);
                    g_r = g_a * u_n[p.now * hidden + b.unit] * r * (REAL(1) - r);
                    g_z = gh * (h - candidate) * keep * (REAL(1) - keep);
                    g_u = g_a * r;
                    gh *= keep;
                }
                gh0[p.own] = gh;
                REAL* out = gx + p.now * 3 * hidden + b.unit;
                out[0] = g_r;
                out[hidden] = g_z;
                out[2 * hidden] = g_a;
                REAL* through = gu + p.now * 3 * hidden + b.unit;
                through[0] = g_r;
                through[hidden] = g_z;
                through[2 * hidden] = g_u;
                total[0] += g_r;
                total[1] += g_z;
                total[2] += g_a;
                total[3] += g_u;
            }
        }
        if (k >= 0) everybody(arrived + b.s, gridDim.x * (steps - k));
    }
    const REAL sum = over_threads(b, total);
    const int g = threadIdx.x / UNITS;
    if (g > 3 || b.unit >= hidden) return;
    REAL *in = gb.at[2 * b.s], *through = gb.at[2 * b.s + 1];
    if (in && g < 3) in[g * hidden + b.unit] = sum;
    if (through && g != 2) through[min(g, 2) * hidden + b.unit] = sum;
}

// ---- the reset before the product ----

// The same block with the weights of gate n, which stand behind those of r and z.
__device__ __forceinline__ Block candidates(Block b, int hidden) {
    b.held += 2LL * UNITS * hidden;
    return b;
}

// rh (S, N, H): r h of one step; written anew when all have read it.
extern "C" __global__ void __launch_bounds__(256, 1)
gru_wide_before(const REAL* __restrict__ x, const REAL* __restrict__ h0, const Arrays weight,
                const Arrays bias, const long long* __restrict__ lengths, REAL* states,
                REAL* __restrict__ gates, REAL* rh, REAL* __restrict__ h_n, unsigned* arrived,
                int steps, int n, int directions, int hidden) {
    const Block b = block_of<3>(n, hidden), of_n = candidates(b, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_rows<2>(b, weight.at[b.s], hidden);
    hold_rows<1>(of_n, weight.at[b.s] + 2LL * hidden * hidden, hidden);
    REAL shift[3] = {0, 0, 0};
#pragma unroll
    for (int g = 0; g < 3; ++g)
        for (int k = 0; k < 2; ++k)
            if (bias.at[2 * b.s + k] && b.unit < hidden)
                shift[g] += bias.at[2 * b.s + k][g * hidden + b.unit];

    for (int k = 0; k < steps; ++k) {
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            const Rows from = states_before(b, states, h0, k, base, steps, n, directions, hidden);
            if (from.first) product<2 * UNITS>(b, from, rows, hidden);
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                const REAL* in = x + p.now * 3 * hidden + b.unit;
                REAL h = 0, r = 0, keep = 0, u[2] = {0, 0};
                if (from.first) {
                    const REAL* own = b.sums + e / UNITS * (2 * UNITS + 1) + b.u;
                    h = k ? states[p.earlier * hidden + b.unit] : h0[p.own];
                    u[0] = own[0];
                    u[1] = own[UNITS];
                }
                if (!p.ended) {
                    r = sigmoid(in[0] + shift[0] + u[0]);
                    keep = sigmoid(in[hidden] + shift[1] + u[1]);
                }
                gates[p.now * 3 * hidden + b.unit] = r;
                gates[p.now * 3 * hidden + hidden + b.unit] = keep;
                rh[p.own] = r * h;
            }
        }
        everybody(arrived + b.s, gridDim.x * (2 * k + 1));
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            const Rows from = {rh + ((long long)b.s * n + base) * hidden, hidden};
            product<UNITS>(of_n, from, rows, hidden);
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL h = 0, candidate = 0;
                if (k || h0) h = k ? states[p.earlier * hidden + b.unit] : h0[p.own];
                REAL* at = gates + p.now * 3 * hidden + b.unit;
                if (!p.ended) {
                    const REAL u = b.sums[e / UNITS * (UNITS + 1) + b.u] + shift[2];
                    const REAL keep = at[hidden];
                    candidate = tanh(x[p.now * 3 * hidden + 2 * hidden + b.unit] + u);
                    h = (REAL(1) - keep) * candidate + keep * h;
                }
                at[2 * hidden] = candidate;
                states[p.now * hidden + b.unit] = h;
                if (k == steps - 1) h_n[p.own] = h;
            }
        }
        if (k + 1 < steps) everybody(arrived + b.s, gridDim.x * (2 * k + 2));
    }
}

// First the gradients of z and n, from these that of r h, and so that of r.
extern "C" __global__ void __launch_bounds__(256, 1)
gru_wide_before_backward(const REAL* __restrict__ gy, const REAL* __restrict__ gh_n,
                         const REAL* __restrict__ gates, const REAL* __restrict__ states,
                         const REAL* __restrict__ h0, const Arrays weight,
                         const long long* __restrict__ lengths, REAL* gx, REAL* __restrict__ gh0,
                         unsigned* arrived, int steps, int n, int directions, int hidden) {
    const Block b = block_of<3>(n, hidden), of_n = candidates(b, hidden);
    const int lanes = 1 << b.lanes_log;
    hold_columns<3>(b, weight.at[b.s], hidden);

    for (int k = steps - 1; k >= -1; --k) {  // -1: only the product is left
        const bool later = k < steps - 1;
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            if (later) {
                const Rows from = rows_of(gx, b, k + 1, base, steps, n, directions, 3 * hidden);
                product<UNITS>(b, from, rows, 2 * hidden);
            }
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL gh = gh_n ? gh_n[p.own] : REAL(0), g_z = 0, g_a = 0;
                if (later) gh = b.sums[e / UNITS * (UNITS + 1) + b.u] + gh0[p.own];
                if (k >= 0) gh += gy[p.now * hidden + b.unit];
                if (k >= 0 && !p.ended) {
                    const REAL* a = gates + p.now * 3 * hidden + b.unit;
                    const REAL keep = a[hidden], candidate = a[2 * hidden];
                    const REAL h =
                        k ? states[p.earlier * hidden + b.unit] : h0 ? h0[p.own] : REAL(0);
                    g_a = gh * (REAL(1) - keep) * (REAL(1) - candidate * candidate);
                    g_z = gh * (h - candidate) * keep * (REAL(1) - keep);
                    gh *= keep;
                }
                gh0[p.own] = gh;
                if (k < 0) continue;
                gx[p.now * 3 * hidden + hidden + b.unit] = g_z;
                gx[p.now * 3 * hidden + 2 * hidden + b.unit] = g_a;
            }
        }
        if (k < 0) return;
        everybody(arrived + b.s, gridDim.x * (2 * (steps - 1 - k) + 1));
        for (int base = 0; base < n; base += lanes) {
            const int rows = min(lanes, n - base);
            Rows from = rows_of(gx, b, k, base, steps, n, directions, 3 * hidden);
            from.first += 2 * hidden;
            product<UNITS>(of_n, from, rows, hidden);
            for (int e = threadIdx.x; e < rows * UNITS && b.unit < hidden; e += THREADS) {
                const int sequence = base + e / UNITS;
                const Place p = place_of(b, sequence, lengths, k, steps, n, directions, hidden);
                REAL g_r = 0;
                if (!p.ended) {
                    const REAL g_rh = b.sums[e / UNITS * (UNITS + 1) + b.u];
                    const REAL r = gates[p.now * 3 * hidden + b.unit];
                    const REAL h =
                        k ? states[p.earlier * hidden + b.unit] : h0 ? h0[p.own] : REAL(0);
                    g_r = g_rh * h * r * (REAL(1) - r);
                    gh0[p.own] += g_rh * r;
                }
                gx[p.now * 3 * hidden + b.unit] = g_r;
            }
        }
        everybody(arrived + b.s, gridDim.x * 2 * (steps - k));
    }
}
