// Softmax with cross-entropy, and its gradient in the same pass.
//
//   logits z (N, C), targets t (N,)  ->  losses (N,), gradient (N, C)
//
//   loss = log(sum_c exp(z[c] - max z)) - (z[t] - max z)
//   gradient[c] = exp(z[c] - max z) / sum - [c == t]
//
// A target outside 0 .. C-1, or equal to `ignore`, gives loss 0 and gradient 0.
//
//   cross_entropy_mean_few   the mean of the losses and its gradient, in one launch
//   mean_of_losses           the mean, and 1 / how many there are, from the losses
//   scaled                   y = x (g scale), g and scale being numbers on the device; scale may be 1
//
// Portable twins: LossKernels.softmax_cross_entropy, cross_entropy_mean and scaled in
// nnx/backends/portable/loss.py.
// REAL is float or double.
//
// Bytes: reads logits once from memory and writes the gradient; a row that is read a second and a
// third time is still in the first-level cache (at most 8 rows of 4 KiB, or one row).  Writing the
// gradient here saves the backward pass from reading p again.
//
// Sums are trees of a fixed shape (butterflies within a warp, then warps in order), so results
// do not depend on timing.

#define FULL 0xffffffffu

__device__ __forceinline__ REAL warp_max(REAL v) {
    #pragma unroll
    for (int o = 16; o; o >>= 1) v = fmax(v, __shfl_xor_sync(FULL, v, o));
    return v;
}

__device__ __forceinline__ REAL warp_sum(REAL v) {
    #pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(FULL, v, o);
    return v;
}

__device__ __forceinline__ REAL lowest() { return -__int_as_float(0x7f800000); }

__device__ __forceinline__ bool counts(long long target, int classes, long long ignore) {
    return 0 <= target && target < classes && target != ignore;
}

// What one thread of a row's threads writes, once the row's largest value and sum are known.
__device__ __forceinline__ void write_row(const REAL* z, long long target, REAL* loss,
                                          REAL* gradient, int classes, REAL largest, REAL sum,
                                          int first, int step, long long ignore) {
    const bool counted = counts(target, classes, ignore);
    for (int c = first; c < classes; c += step) {
        const REAL p = exp(z[c] - largest) / sum;
        gradient[c] = counted ? (c == target ? p - REAL(1) : p) : REAL(0);
    }
    if (first == 0) *loss = counted ? log(sum) - (z[target] - largest) : REAL(0);
}

// One warp a row: for up to a thousand classes or so.
extern "C" __global__ void __launch_bounds__(256)
softmax_cross_entropy(const REAL* __restrict__ logits, const long long* __restrict__ targets,
                      REAL* __restrict__ losses, REAL* __restrict__ gradient,
                      int rows, int classes, long long ignore) {
    const int lane = threadIdx.x % 32;
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;  // the whole warp
    const REAL* z = logits + (long long)row * classes;

    REAL largest = lowest();
    for (int c = lane; c < classes; c += 32) largest = fmax(largest, z[c]);
    largest = warp_max(largest);
    REAL sum = 0;
    for (int c = lane; c < classes; c += 32) sum += exp(z[c] - largest);
    sum = warp_sum(sum);
    write_row(z, targets[row], losses + row, gradient + (long long)row * classes, classes,
              largest, sum, lane, 32, ignore);
}

// One block a row: for many classes.
extern "C" __global__ void __launch_bounds__(256)
softmax_cross_entropy_wide(const REAL* __restrict__ logits, const long long* __restrict__ targets,
                           REAL* __restrict__ losses, REAL* __restrict__ gradient,
                           int rows, int classes, long long ignore) {
    __shared__ REAL part[8];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const long long row = blockIdx.x;
    const REAL* z = logits + row * classes;

    REAL largest = lowest();
    for (int c = threadIdx.x; c < classes; c += blockDim.x) largest = fmax(largest, z[c]);
    largest = warp_max(largest);
    if (lane == 0) part[warp] = largest;
    __syncthreads();
    for (int k = 0; k < warps; ++k) largest = fmax(largest, part[k]);

    REAL sum = 0;
    for (int c = threadIdx.x; c < classes; c += blockDim.x) sum += exp(z[c] - largest);
    sum = warp_sum(sum);
    __syncthreads();  // part is about to be written again
    if (lane == 0) part[warp] = sum;
    __syncthreads();
    sum = 0;
    for (int k = 0; k < warps; ++k) sum += part[k];

    write_row(z, targets[row], losses + row, gradient + row * classes, classes, largest, sum,
              threadIdx.x, blockDim.x, ignore);
}

// The sum over a block of 1024, in a tree of a fixed shape; every thread gets it.
__device__ __forceinline__ REAL block_sum(REAL v, REAL* part) {
    v = warp_sum(v);
    __syncthreads();  // part may still be read from an earlier sum
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_sum(part[threadIdx.x % 32]);
}

// What makes the gradient of the sum that of the mean.
__device__ __forceinline__ REAL share(REAL count) { return count > 0 ? REAL(1) / count : REAL(0); }

// Few rows of few classes: one block for all, one thread for each row in turn.
extern "C" __global__ void __launch_bounds__(1024)
cross_entropy_mean_few(const REAL* __restrict__ logits, const long long* __restrict__ targets,
                       REAL* __restrict__ mean, REAL* __restrict__ gradient, int rows, int classes,
                       long long ignore) {
    __shared__ REAL part[32];
    REAL total = 0, count = 0;
    for (int row = threadIdx.x; row < rows; row += 1024) {
        const REAL* z = logits + (long long)row * classes;
        const long long target = targets[row];
        REAL largest = lowest(), sum = 0, loss;
        for (int c = 0; c < classes; ++c) largest = fmax(largest, z[c]);
        for (int c = 0; c < classes; ++c) sum += exp(z[c] - largest);
        write_row(z, target, &loss, gradient + (long long)row * classes, classes, largest, sum, 0,
                  1, ignore);
        total += loss;
        count += counts(target, classes, ignore);
    }
    total = block_sum(total, part);
    count = block_sum(count, part);
    if (threadIdx.x == 0) *mean = total / count;  // NaN where nothing counts
    const REAL scale = share(count);
    for (int row = threadIdx.x; row < rows; row += 1024)
        for (int c = 0; c < classes; ++c) gradient[(long long)row * classes + c] *= scale;
}

// One block for all rows.
extern "C" __global__ void __launch_bounds__(1024)
mean_of_losses(const REAL* __restrict__ losses, const long long* __restrict__ targets,
               REAL* __restrict__ mean, REAL* __restrict__ scale, int rows, int classes,
               long long ignore) {
    __shared__ REAL part[32];
    REAL total = 0, count = 0;
    for (int row = threadIdx.x; row < rows; row += 1024) {
        total += losses[row];
        count += counts(targets[row], classes, ignore);
    }
    total = block_sum(total, part);
    count = block_sum(count, part);
    if (threadIdx.x == 0) {
        *mean = total / count;
        *scale = share(count);
    }
}

extern "C" __global__ void __launch_bounds__(256)
scaled(const REAL* __restrict__ x, const REAL* __restrict__ g, const REAL* __restrict__ scale,
       REAL* __restrict__ y, long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * (scale ? g[0] * scale[0] : g[0]);
}
