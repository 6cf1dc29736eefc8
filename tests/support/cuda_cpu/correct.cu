// Kernels without a fault that use all that the harness watches: it must not cry wolf.
// tests/kernels/test_canaries.py runs them in every order.

#define INDEX const int i = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x

// Sum of each row (one block a row): registers, shuffles, shared memory, two barriers.
extern "C" __global__ void __launch_bounds__(256)
row_sum(const REAL* __restrict__ x, REAL* __restrict__ y, int columns) {
    __shared__ REAL part[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    REAL sum = 0;
    for (int j = threadIdx.x; j < columns; j += blockDim.x)
        sum += x[(long long)blockIdx.x * columns + j];
    for (int o = 16; o; o >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, o);
    if (lane == 0) part[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        sum = lane < warps ? part[lane] : REAL(0);
        for (int o = 16; o; o >>= 1) sum += __shfl_down_sync(0xffffffffu, sum, o);
        if (lane == 0) y[blockIdx.x] = sum;
    }
}

// A tree in shared memory, with a barrier at each step.
extern "C" __global__ void tree_sum(const REAL* x, REAL* y, int n) {
    extern __shared__ REAL row[];
    const int t = threadIdx.x;
    row[t] = t < n ? x[t] : REAL(0);
    __syncthreads();
    for (int o = blockDim.x / 2; o; o >>= 1) {
        if (t < o) row[t] += row[t + o];
        __syncthreads();
    }
    if (t == 0) y[0] = row[0];
}

// The last steps within a warp, each followed by the barrier of the warp.
extern "C" __global__ void warp_tree_sum(const REAL* x, REAL* y, int n) {
    __shared__ REAL s[32];
    const int t = threadIdx.x;
    s[t] = t < n ? x[t] : REAL(0);
    __syncwarp();
    for (int o = 16; o; o >>= 1) {
        const REAL other = t < o ? s[t + o] : REAL(0);
        __syncwarp();
        if (t < o) s[t] += other;
        __syncwarp();
    }
    if (t == 0) y[0] = s[0];
}

// y = x^T through a tile in shared memory.
extern "C" __global__ void transpose(const REAL* __restrict__ x, REAL* __restrict__ y, int h, int w) {
    __shared__ REAL tile[8][9];
    const int column = blockIdx.x * 8 + threadIdx.x, row = blockIdx.y * 8 + threadIdx.y;
    if (row < h && column < w) tile[threadIdx.y][threadIdx.x] = x[row * w + column];
    __syncthreads();
    const int out_column = blockIdx.y * 8 + threadIdx.x, out_row = blockIdx.x * 8 + threadIdx.y;
    if (out_row < w && out_column < h)
        y[out_row * h + out_column] = tile[threadIdx.x][threadIdx.y];
}

// Four at a time where the addresses allow it, one at a time where not.
extern "C" __global__ void vector_copy(const float* x, float* y, int n) {
    INDEX;
    const bool aligned = (((unsigned long long)x | (unsigned long long)y) & 15) == 0;
    if (aligned && 4 * i + 3 < n) {
        reinterpret_cast<float4*>(y)[i] = reinterpret_cast<const float4*>(x)[i];
    } else {
        for (int j = 4 * i; j < 4 * i + 4 && j < n; ++j) y[j] = x[j];
    }
}

// Integer atomics: their sum does not depend on the order.
extern "C" __global__ void histogram(const unsigned char* x, int* counts, int n) {
    INDEX;
    if (i < n) atomicAdd(&counts[x[i]], 1);
}

// Votes of the block and of the warp.
extern "C" __global__ void votes(const REAL* x, int* y, int n) {
    INDEX;
    const int positive = i < n && x[i] > 0;
    const int count = __syncthreads_count(positive);
    const int any = __syncthreads_or(positive), all = __syncthreads_and(positive);
    const unsigned lanes = __ballot_sync(0xffffffffu, positive);
    if (t == 0) { y[0] = count; y[1] = any; y[2] = all; y[3] = (int)(lanes & 0xffu); }
}

#ifndef TIMES  // set by the launcher for `scaled` alone
#define TIMES 1
#endif

// A pointer that may be null, an early return, a compiled-in number.
extern "C" __global__ void scaled(const REAL* x, const REAL* bias, REAL* y, REAL factor, int n) {
    INDEX;
    if (i >= n) return;
    REAL sum = bias ? bias[i] : REAL(0);
    for (int k = 0; k < TIMES; ++k) sum += factor * x[i];
    y[i] = sum;
}

// Lists, passed by value: one row of blocks for each array.
struct Inputs { const REAL* at[64]; };
struct Outputs { REAL* at[64]; };
struct Factors { REAL at[64]; };
struct Sizes { long long at[64]; };
extern "C" __global__ void scale_all(Inputs xs, Outputs ys, Factors factors, Sizes sizes, int count) {
    INDEX;
    const int k = blockIdx.y;
    if (k < count && i < sizes.at[k]) ys.at[k][i] = factors.at[k] * xs.at[k][i];
}
