// Pooling: the largest value of each window, or its mean, and how their gradients go back.
//
//   max_pool_*            x (planes, h, w) -> y, place (planes, oh, ow)
//   max_pool_backward_*   gy, place (planes, oh, ow) -> gx (planes, h, w)
//   avg_pool              x (planes, h, w) -> y (planes, oh, ow)
//   avg_pool_backward     gy (planes, oh, ow) -> gx (planes, h, w)
//
// A plane is one channel of one image.  Window (oy, ox) sees the pixels
// (oy*sh - top + a*dh, ox*sw - left + b*dw) for its places a = 0..kh-1, b = 0..kw-1, numbered
// a*kw + b.  Pixels outside the image are never chosen by the maximum and add 0 to a mean.
//
// Portable twins: Backend.max_pool2d, max_pool2d_backward, avg_pool2d and avg_pool2d_backward in
// nnx/backends/portable/pool.py.  Arrays are of STORE: float, double or
// Half; computed is in REAL.
//
// The backward passes gather: each thread makes one output element from what it reads, so nothing
// is added atomically and results do not depend on the order of threads, overlapping windows
// included.
//
// Bytes, for float and windows of 2x2 that do not overlap, per window: the forward pass reads 4
// pixels and writes a value and a place of one byte, 21 bytes; the backward pass the same, the
// other way round.  (A place as a 64-bit index into the image would make it 28.)
//
// Threads: threadIdx.x runs along the elements of a plane, threadIdx.y along planes, so that
// planes of few elements share a block; blockIdx.x counts groups of planes, blockIdx.y pieces of
// a plane, and a thread strides on if there are too few pieces.

struct Geometry {
    int kh, kw, sh, sw, top, left, dh, dw;
};

// The largest value of the window whose first place is the pixel (row0, column0), and its place.
// Equal values: the first in row-major order.  NaN is larger than everything, and of several NaN
// the first wins.  KH and KW are the window's size where it is known at compile time, so that the
// loops are unrolled; 0 where it is not.
template <int KH, int KW>
__device__ __forceinline__ REAL largest(const STORE* image, int h, int w, int row0, int column0,
                                        const Geometry& g, int& place) {
    const int kh = KH ? KH : g.kh, kw = KW ? KW : g.kw;
    REAL best = __uint_as_float(0xff800000u);  // -inf
    place = -1;
#pragma unroll
    for (int a = 0; a < kh; ++a) {
        const int row = row0 + a * g.dh;
#pragma unroll
        for (int b = 0; b < kw; ++b) {
            const int column = column0 + b * g.dw;
            if (row < 0 || column < 0) continue;
            if (place < 0) place = a * kw + b;  // what -inf everywhere chooses
            if (row >= h || column >= w) continue;
            const REAL value = image[(long long)row * w + column];
            if (value > best || (value != value && best == best)) {
                best = value;
                place = a * kw + b;
            }
        }
    }
    return best;
}

// One thread for one window.  The usual sizes have loops of their own.
template <typename PLACE>
__device__ __forceinline__ void max_pool(const STORE* x, STORE* y, PLACE* places, int planes, int h,
                                         int w, int oh, int ow, const Geometry& g) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y, windows = oh * ow;
    if (plane >= planes) return;
    const STORE* image = x + (long long)plane * h * w;
    const long long first = (long long)plane * windows;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < windows; i += gridDim.y * blockDim.x) {
        const int oy = i / ow, ox = i - oy * ow;
        const int row0 = oy * g.sh - g.top, column0 = ox * g.sw - g.left;
        int place;
        if (g.kh == 2 && g.kw == 2)
            y[first + i] = largest<2, 2>(image, h, w, row0, column0, g, place);
        else if (g.kh == 3 && g.kw == 3)
            y[first + i] = largest<3, 3>(image, h, w, row0, column0, g, place);
        else
            y[first + i] = largest<0, 0>(image, h, w, row0, column0, g, place);
        places[first + i] = (PLACE)place;
    }
}

// For windows of at most 256 places.
extern "C" __global__ void __launch_bounds__(256)
max_pool_u8(const STORE* __restrict__ x, STORE* __restrict__ y, unsigned char* __restrict__ place,
            int planes, int h, int w, int oh, int ow, int kh, int kw, int sh, int sw, int top,
            int left, int dh, int dw) {
    max_pool(x, y, place, planes, h, w, oh, ow, Geometry{kh, kw, sh, sw, top, left, dh, dw});
}

// For larger ones.
extern "C" __global__ void __launch_bounds__(256)
max_pool_i32(const STORE* __restrict__ x, STORE* __restrict__ y, int* __restrict__ place,
             int planes, int h, int w, int oh, int ow, int kh, int kw, int sh, int sw, int top,
             int left, int dh, int dw) {
    max_pool(x, y, place, planes, h, w, oh, ow, Geometry{kh, kw, sh, sw, top, left, dh, dw});
}

// Which windows may hold a pixel: those that begin at most `reach` = (k-1)*d pixels before it.
//
//     pixel at p = row + top       p = 5, stride 2, k = 4, d = 1: windows 1 and 2
//
//     window 0   [ 0 1 2 3 ]
//     window 1       [ 2 3 4 5 ]            first = ceil((p - reach) / stride)
//     window 2           [ 4 5 6 7 ]        last  = floor(p / stride)
//     pixel p              *
//
__device__ __forceinline__ int first_window(int p, int reach, int stride) {
    return p > reach ? (p - reach + stride - 1) / stride : 0;
}

__device__ __forceinline__ int last_window(int p, int stride, int windows) {
    return min(p / stride, windows - 1);
}

// One thread for one pixel: it adds up the gradients of the windows that chose it, in their order.
// A window with holes (dilation) is looked at though the pixel may lie in a hole: then the place
// that it chose is another pixel, and nothing is added.
template <typename PLACE>
__device__ __forceinline__ void max_pool_backward(const STORE* gy, const PLACE* places, STORE* gx,
                                                  int planes, int h, int w, int oh, int ow,
                                                  const Geometry& g) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y, pixels = h * w;
    if (plane >= planes) return;
    const long long first = (long long)plane * oh * ow;
    STORE* image = gx + (long long)plane * pixels;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < pixels; i += gridDim.y * blockDim.x) {
        const int row = i / w + g.top, column = i % w + g.left;
        const int oy1 = last_window(row, g.sh, oh), ox1 = last_window(column, g.sw, ow);
        const int ox0 = first_window(column, (g.kw - 1) * g.dw, g.sw);
        REAL sum = 0;
        for (int oy = first_window(row, (g.kh - 1) * g.dh, g.sh); oy <= oy1; ++oy)
            for (int ox = ox0; ox <= ox1; ++ox) {
                const int window = oy * ow + ox, place = places[first + window];
                const int a = place / g.kw, b = place - a * g.kw;
                if (oy * g.sh + a * g.dh == row && ox * g.sw + b * g.dw == column)
                    sum += gy[first + window];
            }
        image[i] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
max_pool_backward_u8(const STORE* __restrict__ gy, const unsigned char* __restrict__ place,
                     STORE* __restrict__ gx, int planes, int h, int w, int oh, int ow, int kh,
                     int kw, int sh, int sw, int top, int left, int dh, int dw) {
    max_pool_backward(gy, place, gx, planes, h, w, oh, ow,
                      Geometry{kh, kw, sh, sw, top, left, dh, dw});
}

extern "C" __global__ void __launch_bounds__(256)
max_pool_backward_i32(const STORE* __restrict__ gy, const int* __restrict__ place,
                      STORE* __restrict__ gx, int planes, int h, int w, int oh, int ow, int kh,
                      int kw, int sh, int sw, int top, int left, int dh, int dw) {
    max_pool_backward(gy, place, gx, planes, h, w, oh, ow,
                      Geometry{kh, kw, sh, sw, top, left, dh, dw});
}

// The same where no pixel lies in two windows, kh*kw <= 256 and there is no dilation: the commonest
// case, and the one in which the four integer divisions above would cost more than the memory.
// One thread for one *cell* of sh x sw pixels, which begins where a window begins; a window fills
// the upper left kh x kw of its cell, and cells beyond the last window have none.
//
//     w = 7, kw = sw = 2, left = 1        cells    |0 |1  |2  |3  |
//     3 windows (floor)                   pixels  . a b c d e f g
//                                         windows |0--|1--|2--|
//
extern "C" __global__ void __launch_bounds__(256)
max_pool_backward_apart(const STORE* __restrict__ gy, const unsigned char* __restrict__ place,
                        STORE* __restrict__ gx, int planes, int h, int w, int oh, int ow, int kw,
                        int sh, int sw, int top, int left, int cells_down, int cells_across) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y, cells = cells_down * cells_across;
    if (plane >= planes) return;
    const long long first = (long long)plane * oh * ow;
    STORE* image = gx + (long long)plane * h * w;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < cells; i += gridDim.y * blockDim.x) {
        const int cy = i / cells_across, cx = i - cy * cells_across;
        int row = -1, column = -1;  // the pixel that was chosen, within the cell
        REAL g = 0;
        if (cy < oh && cx < ow) {
            const int chosen = place[first + cy * ow + cx];
            row = chosen / kw;
            column = chosen - row * kw;
            g = gy[first + cy * ow + cx];
        }
        for (int a = 0; a < sh; ++a) {
            const int y = cy * sh - top + a;
            if (y < 0 || y >= h) continue;
            for (int b = 0; b < sw; ++b) {
                const int x = cx * sw - left + b;
                if (x < 0 || x >= w) continue;
                image[(long long)y * w + x] = a == row && b == column ? g : REAL(0);
            }
        }
    }
}

// How many places of a window the mean's divisor counts along one axis: those in the image or
// within `before` and `after` pixels of it.
__device__ __forceinline__ int counted(int begin, int k, int size, int before, int after) {
    return max(1, min(begin + k, size + after) - max(begin, -before));
}

// One thread for one window: the sum over the image's part of it, divided by what is counted.
extern "C" __global__ void __launch_bounds__(256)
avg_pool(const STORE* __restrict__ x, STORE* __restrict__ y, int planes, int h, int w, int oh,
         int ow, int kh, int kw, int sh, int sw, int top, int left, int counted_top,
         int counted_bottom, int counted_left, int counted_right) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y, windows = oh * ow;
    if (plane >= planes) return;
    const STORE* image = x + (long long)plane * h * w;
    STORE* out = y + (long long)plane * windows;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < windows; i += gridDim.y * blockDim.x) {
        const int oy = i / ow, ox = i - oy * ow;
        const int row0 = oy * sh - top, column0 = ox * sw - left;
        REAL sum = 0;
        for (int row = max(row0, 0); row < min(row0 + kh, h); ++row)
            for (int column = max(column0, 0); column < min(column0 + kw, w); ++column)
                sum += image[(long long)row * w + column];
        const int divisor = counted(row0, kh, h, counted_top, counted_bottom) *
                            counted(column0, kw, w, counted_left, counted_right);
        out[i] = sum / divisor;
    }
}

// One thread for one pixel: its share of the gradient of each window that holds it.
extern "C" __global__ void __launch_bounds__(256)
avg_pool_backward(const STORE* __restrict__ gy, STORE* __restrict__ gx, int planes, int h, int w,
                  int oh, int ow, int kh, int kw, int sh, int sw, int top, int left,
                  int counted_top, int counted_bottom, int counted_left, int counted_right) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y, pixels = h * w;
    if (plane >= planes) return;
    const STORE* in = gy + (long long)plane * oh * ow;
    STORE* image = gx + (long long)plane * pixels;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < pixels; i += gridDim.y * blockDim.x) {
        const int row = i / w + top, column = i % w + left;
        const int oy1 = last_window(row, sh, oh), ox1 = last_window(column, sw, ow);
        const int ox0 = first_window(column, kw - 1, sw);
        REAL sum = 0;
        for (int oy = first_window(row, kh - 1, sh); oy <= oy1; ++oy) {
            const int rows = counted(oy * sh - top, kh, h, counted_top, counted_bottom);
#pragma unroll 1  // two divisions at once would not fit in the registers
            for (int ox = ox0; ox <= ox1; ++ox) {
                const int columns = counted(ox * sw - left, kw, w, counted_left, counted_right);
                sum += in[oy * ow + ox] / (rows * columns);
            }
        }
        image[i] = sum;
    }
}
