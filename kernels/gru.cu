// The GRU, one time step of its two variants.
//
//   r, z = sigmoid(x + u),   h' = (1 - z) n + z h,   and the candidate
//   reset after the product     n = tanh(x_n + r u_n)          u = W h + b, three thirds
//   reset before it             n = tanh(x_n + u_n)            u_n = W_n (r h) + b_n
//
//   gru_cell      reset after: the whole elementwise half of a step
//   gru_reset     reset before: r, z and r h, from which a product makes u_n
//   gru_update    reset before: n and h'
//   each with _backward; whole scans are in gru_sequence.cu
//
// Portable twins: Backend.gru_cell, gru_reset, gru_update and their backward, and gru_sequence, in
// nnx/backends/portable/gru.py; the derivation is in nnx/ops/gru.py.  Arrays are of STORE: float,
// double or Half; computed is in REAL.
//
// Shapes: T time steps, N sequences, S directions, H units.
//
//   x, gates        (T, N, S, 3H)   the input's share; r, z, n
//   states, u_n     (T, N, S, H)    h after each step, and the last third of u
//   h, u            (S, N, H), (S, N, 3H) or (S, N, 2H)   of one step
//   bias            (S, 3H), added to u; null where u has it already
//
// Step k is time k in direction 0, T-1-k in direction 1.  A sequence that has ended
// (t >= lengths[n]) keeps its state.  A cell alone is a scan of one step in one direction, with
// rows of x and gates as wide as it has them: `width` elements.
//
// One thread for one unit of one sequence in one direction.  Bytes per unit, float: gru_cell reads
// 3 x, 3 u, h and writes 3 gates, u_n, h' and its copy in states, 52; the others less.

__device__ __forceinline__ REAL sigmoid(REAL x) { return REAL(1) / (REAL(1) + exp(-x)); }

__device__ __forceinline__ int time_of(int k, int s, int steps) {
    return s == 0 ? k : steps - 1 - k;
}

// Where a thread is.
struct Place {
    int unit, s, sequence;
    long long row;      // s * n + sequence: its row in the arrays of one step
    long long now;      // (t * n + sequence) * directions + s: in the arrays of the scan
    long long earlier;  // the same for the step before
    bool ended;
};

__device__ __forceinline__ Place place_of(int e, const long long* lengths, int k, int steps, int n,
                                          int directions, int hidden) {
    Place p;
    const int row = e / hidden;
    p.unit = e - row * hidden;
    p.s = row / n;
    p.sequence = row - p.s * n;
    p.row = row;
    const int t = time_of(k, p.s, steps), before = time_of(k - 1, p.s, steps);
    p.now = ((long long)t * n + p.sequence) * directions + p.s;
    p.earlier = ((long long)before * n + p.sequence) * directions + p.s;
    p.ended = lengths && t >= lengths[p.sequence];
    return p;
}

// The state before step k.
__device__ __forceinline__ REAL state_before(const STORE* h0, const STORE* states, const Place& p,
                                             int e, int k, int hidden) {
    return k == 0 ? h0[e] : states[p.earlier * hidden + p.unit];
}

// ---- reset after the product ----

extern "C" __global__ void __launch_bounds__(256)
gru_cell(const STORE* __restrict__ x, const STORE* __restrict__ u, const STORE* __restrict__ bias,
         const STORE* __restrict__ h, const long long* __restrict__ lengths,
         STORE* __restrict__ gates, STORE* __restrict__ u_n, STORE* __restrict__ h_next,
         STORE* __restrict__ states, int k, int steps, int n, int directions, int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const Place p = place_of(e, lengths, k, steps, n, directions, hidden);
    const STORE* in = x + p.now * 3 * hidden + p.unit;
    REAL product[3];
    for (int gate = 0; gate < 3; ++gate) {
        product[gate] = u[(p.row * 3 + gate) * hidden + p.unit];
        if (bias) product[gate] += bias[(p.s * 3 + gate) * hidden + p.unit];
    }
    const REAL r = sigmoid(in[0] + product[0]), z = sigmoid(in[hidden] + product[1]);
    const REAL candidate = tanh(in[2 * hidden] + r * product[2]);
    const REAL next = p.ended ? h[e] : (REAL(1) - z) * candidate + z * h[e];

    STORE* out = gates + p.now * 3 * hidden + p.unit;
    out[0] = r;
    out[hidden] = z;
    out[2 * hidden] = candidate;
    if (u_n) u_n[p.now * hidden + p.unit] = product[2];
    h_next[e] = next;
    if (states) states[p.now * hidden + p.unit] = next;
}

// The gradient of h' is the sum of what the output hands down (gy), of what the later step hands
// back through the product (back = gu W), and of `carry`, which reaches h' directly.
extern "C" __global__ void __launch_bounds__(256)
gru_cell_backward(const STORE* __restrict__ gy, const STORE* __restrict__ back,
                  const STORE* __restrict__ carry, const STORE* __restrict__ gates,
                  const STORE* __restrict__ u_n, const STORE* __restrict__ states,
                  const STORE* __restrict__ h0, const long long* __restrict__ lengths,
                  STORE* __restrict__ gx, STORE* __restrict__ gu, STORE* __restrict__ gu_now,
                  STORE* __restrict__ carry_next, int k, int steps, int n, int directions,
                  int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const Place p = place_of(e, lengths, k, steps, n, directions, hidden);
    REAL gh = gy[p.now * hidden + p.unit];
    if (back) gh += back[e];
    if (carry) gh += carry[e];

    REAL g_r = 0, g_z = 0, g_a = 0, g_u = 0, direct = gh;
    if (!p.ended) {
        const STORE* a = gates + p.now * 3 * hidden + p.unit;
        const REAL r = a[0], z = a[hidden], candidate = a[2 * hidden];
        const REAL h = state_before(h0, states, p, e, k, hidden);
        g_a = gh * (REAL(1) - z) * (REAL(1) - candidate * candidate);
        g_r = g_a * u_n[p.now * hidden + p.unit] * r * (REAL(1) - r);
        g_z = gh * (h - candidate) * z * (REAL(1) - z);
        g_u = g_a * r;
        direct = gh * z;
    }
    STORE *out = gx + p.now * 3 * hidden + p.unit, *through = gu + p.now * 3 * hidden + p.unit;
    out[0] = through[0] = g_r;
    out[hidden] = through[hidden] = g_z;
    out[2 * hidden] = g_a;
    through[2 * hidden] = g_u;
    if (gu_now) {
        STORE* copy = gu_now + p.row * 3 * hidden + p.unit;
        copy[0] = g_r;
        copy[hidden] = g_z;
        copy[2 * hidden] = g_u;
    }
    carry_next[e] = direct;
}

// ---- reset before the product ----

// u (S, N, 2H).  Besides gates, z is written to z_now (S, N, H) where gru_update wants it.
extern "C" __global__ void __launch_bounds__(256)
gru_reset(const STORE* __restrict__ x, const STORE* __restrict__ u, const STORE* __restrict__ bias,
          const STORE* __restrict__ h, STORE* __restrict__ gates, STORE* __restrict__ rh,
          STORE* __restrict__ z_now, int width, int k, int steps, int n, int directions,
          int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const Place p = place_of(e, 0, k, steps, n, directions, hidden);
    const STORE* in = x + p.now * width + p.unit;
    REAL product[2];
    for (int gate = 0; gate < 2; ++gate) {
        product[gate] = u[(p.row * 2 + gate) * hidden + p.unit];
        if (bias) product[gate] += bias[(p.s * 3 + gate) * hidden + p.unit];
    }
    const REAL r = sigmoid(in[0] + product[0]), z = sigmoid(in[hidden] + product[1]);
    gates[p.now * width + p.unit] = r;
    gates[p.now * width + hidden + p.unit] = z;
    rh[e] = r * h[e];
    if (z_now) z_now[e] = z;
}

// u, z, h (S, N, H).  x_n and n stand in the last H of a row of x and gates.
extern "C" __global__ void __launch_bounds__(256)
gru_update(const STORE* __restrict__ x, const STORE* __restrict__ u, const STORE* __restrict__ bias,
           const STORE* __restrict__ z, const STORE* __restrict__ h,
           const long long* __restrict__ lengths, STORE* __restrict__ gates,
           STORE* __restrict__ h_next, STORE* __restrict__ states, int width, int k, int steps,
           int n, int directions, int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const Place p = place_of(e, lengths, k, steps, n, directions, hidden);
    const long long at = (p.now + 1) * width - hidden + p.unit;
    REAL product = u[e];
    if (bias) product += bias[(p.s * 3 + 2) * hidden + p.unit];
    const REAL candidate = tanh(x[at] + product);
    const REAL next = p.ended ? h[e] : (REAL(1) - z[e]) * candidate + z[e] * h[e];
    gates[at] = candidate;
    h_next[e] = next;
    if (states) states[p.now * hidden + p.unit] = next;
}

// z and n stand z_at and n_at elements into a row of `width`; in a scan both are `gates`.
// -> the gradients of x_n and u_n, of z (not of its pre-activation), and of h, each (S, N, H).
extern "C" __global__ void __launch_bounds__(256)
gru_update_backward(const STORE* __restrict__ gy, const STORE* __restrict__ back,
                    const STORE* __restrict__ carry, const STORE* __restrict__ z,
                    const STORE* __restrict__ candidate, const STORE* __restrict__ states,
                    const STORE* __restrict__ h0, const long long* __restrict__ lengths,
                    STORE* __restrict__ g_a, STORE* __restrict__ g_z, STORE* __restrict__ gh_before,
                    int width, int z_at, int n_at, int k, int steps, int n, int directions,
                    int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const Place p = place_of(e, lengths, k, steps, n, directions, hidden);
    REAL gh = gy[p.now * hidden + p.unit];
    if (back) gh += back[e];
    if (carry) gh += carry[e];

    REAL a = 0, by_z = 0, direct = gh;
    if (!p.ended) {
        const REAL keep = z[p.now * width + z_at + p.unit];
        const REAL new_h = candidate[p.now * width + n_at + p.unit];
        a = gh * (REAL(1) - keep) * (REAL(1) - new_h * new_h);
        by_z = gh * (state_before(h0, states, p, e, k, hidden) - new_h);
        direct = gh * keep;
    }
    g_a[e] = a;
    g_z[e] = by_z;
    gh_before[e] = direct;
}

// g_rh, g_z (S, N, H): the gradients of r h and of z -> that of the pre-activations of r and z,
// (S, N, 2H), and gh (S, N, H) = direct + g_rh r.  In a scan the row of gx is completed with g_a.
extern "C" __global__ void __launch_bounds__(256)
gru_reset_backward(const STORE* __restrict__ g_rh, const STORE* __restrict__ g_z,
                   const STORE* __restrict__ g_a, const STORE* __restrict__ direct,
                   const STORE* __restrict__ gates, const STORE* __restrict__ states,
                   const STORE* __restrict__ h0, STORE* __restrict__ g_rz, STORE* __restrict__ gh,
                   STORE* __restrict__ gx, int width, int k, int steps, int n, int directions,
                   int hidden) {
    const int e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= directions * n * hidden) return;
    const Place p = place_of(e, 0, k, steps, n, directions, hidden);
    const REAL r = gates[p.now * width + p.unit], z = gates[p.now * width + hidden + p.unit];
    const REAL h = state_before(h0, states, p, e, k, hidden);
    const REAL by_r = g_rh[e] * h * r * (REAL(1) - r), by_z = g_z[e] * z * (REAL(1) - z);
    g_rz[p.row * 2 * hidden + p.unit] = by_r;
    g_rz[(p.row * 2 + 1) * hidden + p.unit] = by_z;
    gh[e] = (direct ? direct[e] : REAL(0)) + g_rh[e] * r;
    if (gx) {
        STORE* out = gx + p.now * 3 * hidden + p.unit;
        out[0] = by_r;
        out[hidden] = by_z;
        out[2 * hidden] = g_a[e];
    }
}
