// Adaptive pooling: oh x ow windows that cover an image of h x w, of whatever sizes that needs.
//
//   adaptive_max_pool            x (planes, h, w) -> y, at (planes, oh, ow)
//   adaptive_max_pool_backward   gy, at -> gx (planes, h, w)
//   adaptive_avg_pool            x -> y
//   adaptive_avg_pool_backward   gy -> gx
//
// Window p of an axis with m of them is floor(p L / m) .. ceil((p + 1) L / m).  So pixel r lies in
// windows floor(r m / L) .. ceil((r + 1) m / L) - 1: one, or two that overlap by a pixel; or more
// where there are more windows than pixels.  `at` is row * w + column of the pixel that was chosen.
//
// Portable twins: PoolKernels.adaptive_max_pool2d and the other three in
// nnx/backends/portable/pool.py.  Arrays are of STORE: float, double or
// Half; computed is in REAL.
//
// The backward passes gather, as in pool.cu: no atomics, and the same sum in every order.
//
// Bytes: each pixel is read about once, each window written once with 8 bytes of place; backward
// the other way round.
//
// Threads: as in pool.cu.

#define EACH_OF_A_PLANE(i, size)                                             \
    const int plane = blockIdx.x * blockDim.y + threadIdx.y;                 \
    if (plane >= planes) return;                                             \
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < (size); i += gridDim.y * blockDim.x)

// Where window p of m along an axis of `length` begins, and one past its end.  (m + 1) length must
// be below 2^31: a division of 64 bits is a call that has the registers of a whole kernel.
__device__ __forceinline__ int begin(int p, int length, int m) { return p * length / m; }

__device__ __forceinline__ int end(int p, int length, int m) {
    return ((p + 1) * length + m - 1) / m;
}

// Ties: the first in row-major order.  NaN is larger than everything; of several, the first.
extern "C" __global__ void __launch_bounds__(256)
adaptive_max_pool(const STORE* __restrict__ x, STORE* __restrict__ y, long long* __restrict__ at,
                  int planes, int h, int w, int oh, int ow) {
    EACH_OF_A_PLANE(i, oh * ow) {
        const int p = i / ow, q = i - p * ow;
        const STORE* image = x + (long long)plane * h * w;
        const int first = begin(q, w, ow), last = end(q, w, ow);
        long long place = (long long)begin(p, h, oh) * w + first;
        REAL best = image[place];
        for (int r = begin(p, h, oh); r < end(p, h, oh); ++r)
            for (int c = first; c < last; ++c) {
                const REAL value = image[(long long)r * w + c];
                if (value > best || (value != value && best == best)) {
                    best = value;
                    place = (long long)r * w + c;
                }
            }
        const long long out = (long long)plane * oh * ow + i;
        y[out] = best;
        at[out] = place;
    }
}

extern "C" __global__ void __launch_bounds__(256)
adaptive_max_pool_backward(const STORE* __restrict__ gy, const long long* __restrict__ at,
                           STORE* __restrict__ gx, int planes, int h, int w, int oh, int ow) {
    EACH_OF_A_PLANE(i, h * w) {
        const int r = i / w, c = i - r * w;
        REAL sum = 0;
        for (int p = begin(r, oh, h); p < end(r, oh, h); ++p)
            for (int q = begin(c, ow, w); q < end(c, ow, w); ++q) {
                const long long window = ((long long)plane * oh + p) * ow + q;
                if (at[window] == i) sum += gy[window];
            }
        gx[(long long)plane * h * w + i] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
adaptive_avg_pool(const STORE* __restrict__ x, STORE* __restrict__ y, int planes, int h, int w,
                  int oh, int ow) {
    EACH_OF_A_PLANE(i, oh * ow) {
        const int p = i / ow, q = i - p * ow;
        const STORE* image = x + (long long)plane * h * w;
        const int top = begin(p, h, oh), bottom = end(p, h, oh);
        const int left = begin(q, w, ow), right = end(q, w, ow);
        REAL sum = 0;
        for (int r = top; r < bottom; ++r)
            for (int c = left; c < right; ++c) sum += image[(long long)r * w + c];
        y[(long long)plane * oh * ow + i] = sum / ((bottom - top) * (REAL)(right - left));
    }
}

extern "C" __global__ void __launch_bounds__(256)
adaptive_avg_pool_backward(const STORE* __restrict__ gy, STORE* __restrict__ gx, int planes, int h,
                           int w, int oh, int ow) {
    EACH_OF_A_PLANE(i, h * w) {
        const int r = i / w, c = i - r * w;
        REAL sum = 0;
        const int last = end(c, ow, w);
        for (int p = begin(r, oh, h); p < end(r, oh, h); ++p) {
            const STORE* row = gy + ((long long)plane * oh + p) * ow;
            REAL across = 0;  // of the windows side by side, each by its own width
            for (int q = begin(c, ow, w); q < last; ++q)
                across += row[q] / (end(q, w, ow) - begin(q, w, ow));
            sum += across / (end(p, h, oh) - begin(p, h, oh));
        }
        gx[(long long)plane * h * w + i] = sum;
    }
}
