// Canaries: every kernel here has one planted fault, which the harness must catch.  Silence about
// the real kernels means something only because none of these passes in silence.
// tests/kernels/test_canaries.py says how each is launched and what must be said of it.

#define INDEX const int i = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x

// ---- bounds ----
extern "C" __global__ void read_beyond(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i + 1];
}
extern "C" __global__ void read_before(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i - 1];
}
extern "C" __global__ void write_beyond(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i + 1] = x[i];
}
extern "C" __global__ void missing_bound(const REAL* x, REAL* y, int n) { INDEX; y[i] = x[i]; }
extern "C" __global__ void read_far_away(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i + (1 << 24)];
}
extern "C" __global__ void null_pointer(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i];
}
extern "C" __global__ void local_array_beyond(const REAL* x, REAL* y, int n) {
    INDEX;
    REAL local[4] = {0, 1, 2, 3};
    if (i < n) y[i] = local[i % 5];
}
extern "C" __global__ void shared_beyond(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[32];
    INDEX;
    s[t] = 0;
    if (i < n) y[i] = s[t];
}
extern "C" __global__ void shared_through_pointer(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[64];
    INDEX;
    REAL* p = s + 1;
    asm("" : "+r"(p));  // the compiler must not see what p is
    p[t] = 0;
    if (i < n) y[i] = s[t];
}
extern "C" __global__ void dynamic_shared_beyond(const REAL* x, REAL* y, int n) {
    extern __shared__ REAL row[];
    INDEX;
    row[t] = 0;
    if (i < n) y[i] = row[t];
}

// ---- const, alignment, types ----
extern "C" __global__ void write_through_const(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) { const_cast<REAL*>(x)[i] = 1; y[i] = 1; }
}
extern "C" __global__ void misaligned_vector(const REAL* x, REAL* y, int n) {
    INDEX;
    if (i < n / 4) {
        const float4 v = reinterpret_cast<const float4*>(x + 1)[i];
        y[4 * i] = v.x; y[4 * i + 1] = v.y; y[4 * i + 2] = v.z; y[4 * i + 3] = v.w;
    }
}
extern "C" __global__ void wide_scalar(const REAL* x, REAL* y, long long n) {
    INDEX; if (i < n) y[i] = x[i];
}
extern "C" __global__ void not_const(REAL* x, REAL* y, int n) { INDEX; if (i < n) y[i] = x[i]; }
extern "C" __global__ void other_element(const int* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i];
}

// ---- races ----
extern "C" __global__ void race_between_blocks(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n && t == 0) y[0] += x[i];
}
extern "C" __global__ void race_of_writes(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i / 2] = x[i];
}
extern "C" __global__ void read_of_a_neighbour(const REAL* x, REAL* y, int n) {
    INDEX; if (i + 1 < n) y[i] += y[i + 1] * x[i];
}
extern "C" __global__ void plain_histogram(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[(int)x[i]] += 1;
}
extern "C" __global__ void atomic_and_plain(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) { if (t) atomicAdd(&y[0], x[i]); else y[0] = 0; }
}
extern "C" __global__ void missing_barrier(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[64];
    INDEX;
    s[t] = 0;
    __syncthreads();
    s[t] = i < n ? x[i] : REAL(0);
    if (i < n) y[i] = s[t ^ 1];
}
extern "C" __global__ void missing_second_barrier(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[64];
    INDEX;
    s[t] = i < n ? x[i] : REAL(0);
    __syncthreads();
    const REAL other = s[t ^ 1];
    s[t] = other;  // a neighbour may still be reading
    __syncthreads();
    if (i < n) y[i] = s[t];
}
extern "C" __global__ void warp_without_sync(const REAL* x, REAL* y, int n) {  // was right when the lanes of a warp marched in step
    __shared__ REAL s[64];
    INDEX;
    s[t] = i < n ? x[i] : REAL(0);
    __syncthreads();
    if (t < 16) s[t] += s[t + 16];
    if (t < 8) s[t] += s[t + 8];
    __syncthreads();
    if (i < n) y[i] = s[t % 8];
}
extern "C" __global__ void shuffle_is_no_barrier(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[64];
    INDEX;
    s[t] = i < n ? x[i] : REAL(0);
    const REAL other = __shfl_xor_sync(0xffffffffu, s[t], 1);
    if (i < n) y[i] = s[t ^ 2] + other;
}

// ---- values that are not there ----
extern "C" __global__ void uninitialised_output(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] += x[i];
}
extern "C" __global__ void uninitialised_shared(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[64];
    INDEX;
    if (t < 63) s[t] = 0;
    __syncthreads();
    if (i < n) y[i] = s[63 - t];
}
extern "C" __global__ void output_half_written(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n && i % 2 == 0) y[i] = x[i];
}
extern "C" __global__ void output_never_written(const REAL* x, REAL* y, int n) { }

// ---- barriers ----
extern "C" __global__ void divergent_barrier(const REAL* x, REAL* y, int n) {
    INDEX; if (t < 32) __syncthreads(); if (i < n) y[i] = x[i];
}
extern "C" __global__ void two_barriers(const REAL* x, REAL* y, int n) {
    INDEX;
    if (t < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    if (i < n) y[i] = x[i];
}
extern "C" __global__ void exit_before_barrier(const REAL* x, REAL* y, int n) {
    INDEX; if (i >= n) return; __syncthreads(); y[i] = x[i];
}
extern "C" __global__ void half_warp_barrier(const REAL* x, REAL* y, int n) {
    INDEX; if (t % 32 < 16) __syncwarp(); if (i < n) y[i] = x[i];
}

// ---- shuffles ----
extern "C" __global__ void shuffle_absent_lanes(const REAL* x, REAL* y, int n) {
    INDEX;
    if (t < 8) y[i] = __shfl_xor_sync(0xffffffffu, x[i], 1);
    else if (i < n) y[i] = 0;
}
extern "C" __global__ void shuffle_after_exit(const REAL* x, REAL* y, int n) {
    INDEX; if (i >= n) return;
    y[i] = __shfl_down_sync(0xffffffffu, x[i], 1);
}
extern "C" __global__ void shuffle_outside_own_mask(const REAL* x, REAL* y, int n) {
    INDEX; const REAL v = __shfl_sync(0x0000ffffu, REAL(1), 0); if (i < n) y[i] = v;
}
extern "C" __global__ void shuffle_source_outside_mask(const REAL* x, REAL* y, int n) {
    INDEX;
    if (t < 16) y[i] = __shfl_down_sync(0x0000ffffu, x[i], 4, 32);
    else if (i < n) y[i] = 0;
}
extern "C" __global__ void different_primitives(const REAL* x, REAL* y, int n) {
    INDEX;
    int v;
    if (t % 2) v = __shfl_sync(0xffffffffu, 1, 0);
    else v = __any_sync(0xffffffffu, 1);
    if (i < n) y[i] = v;
}

// ---- arithmetic ----
extern "C" __global__ void integer_overflow(const REAL* x, REAL* y, int n) {
    INDEX; const int far = n * 65536 * 1024; if (i < n) y[i] = far;
}
extern "C" __global__ void shift_too_far(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = 1 << (i + 1);
}
extern "C" __global__ void division_by_zero(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = n / (int)(x[i] - x[i]);
}
extern "C" __global__ void float_too_large(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = (int)(x[i] + REAL(1e20));
}

// ---- waiting ----
extern "C" __global__ void spin(const REAL* x, REAL* y, int n) {
    INDEX;
    if (i == 0)
        while (y[n - 1] != 5) y[0] += x[0] - x[0];  // for another thread, which never gets its turn
    if (i == n - 1) y[i] = 5;
}

extern "C" __global__ void endless_shuffle(const REAL* x, REAL* y, int n) {
    INDEX;
    int v = n;
    while (v) v = __shfl_xor_sync(0xffffffffu, n, 1);
    if (i < n) y[i] = v;
}

// ---- sizes of a launch ----
extern "C" __global__ void much_shared(const REAL* x, REAL* y, int n) {
    extern __shared__ REAL row[]; INDEX; if (i < n) y[i] = x[i];
}
extern "C" __global__ void __launch_bounds__(32)
block_over_bounds(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i];
}
extern "C" __global__ void overlapping(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) y[i] = x[i];
}

// ---- right in itself, but the order of threads shows in the result ----
extern "C" __global__ void order_of_additions(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) atomicAdd(&y[0], REAL(1) / (1 + i));
}
extern "C" __global__ void last_one_wins(const REAL* x, REAL* y, int n) {
    INDEX; if (i < n) atomicExch(&y[0], x[i]);
}

// ---- lists of arrays ----
struct Inputs { const REAL* at[64]; };
struct Outputs { REAL* at[64]; };
extern "C" __global__ void list_beyond(Inputs xs, Outputs ys, int n) {
    INDEX; if (i <= n) ys.at[1][i] = xs.at[1][i];
}
extern "C" __global__ void list_past_its_end(Inputs xs, Outputs ys, int n) {
    INDEX; if (i < n) ys.at[2][i] = xs.at[0][i];
}
extern "C" __global__ void list_through_const(Inputs xs, Outputs ys, int n) {
    INDEX; if (i < n) const_cast<REAL*>(xs.at[0])[i] = ys.at[0][i];
}
