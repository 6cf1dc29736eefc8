// im2col and its transpose, col2im, for a batch of images.
//
//   im2col: x (N, C, H, W) -> cols (N, C*kh*kw, oh*ow)
//   col2im: cols (N, C*kh*kw, oh*ow) -> x (N, C, H, W)
//
// Column (oy, ox) of image n holds the window whose upper left corner is at the pixel
// (oy*sh - top, ox*sw - left); tap (a, b) of the window lies (a*dh, b*dw) further.
//
//        left                       W = 5, kw = 3, sw = 2, left = right = 1
//         |                         window 0 covers pixels -1 0 1
//     0 [ a b c d e ] 0             window 1 covers pixels  1 2 3
//     --0---                        window 2 covers pixels  3 4 5
//         --1--
//             ---2--                outside the image: zero
//
// Portable twins: Backend.im2col and Backend.col2im in nnx/backends/portable/conv.py.
// REAL is float or double.
//
// Bytes: im2col reads x once from memory (the taps overlap, and caches serve them) and writes
// cols; col2im reads cols once and writes x.  Neither needs an atomic operation, for each output
// element is made by one thread, in a fixed order of additions: results are deterministic.
//
// A block works on one plane (image and channel): blockIdx.x counts planes, which may be many;
// blockIdx.y counts pieces of the plane, and a thread strides on if there are too few.

// One thread for one window of one channel: it copies the kh*kw taps.  Neighbouring threads are
// neighbouring windows, so that each tap is written to consecutive addresses.
extern "C" __global__ void __launch_bounds__(256)
im2col(const REAL* __restrict__ x, REAL* __restrict__ cols, int planes, int h, int w,
       int oh, int ow, int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    const int windows = oh * ow;
    const REAL* image = x + (long long)blockIdx.x * h * w;
    REAL* out = cols + (long long)blockIdx.x * kh * kw * windows;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < windows; i += gridDim.y * blockDim.x) {
        const int oy = i / ow, ox = i - oy * ow;
        const int y0 = oy * sh - top, x0 = ox * sw - left;
        for (int a = 0; a < kh; ++a) {
            const int row = y0 + a * dh;
            for (int b = 0; b < kw; ++b) {
                const int column = x0 + b * dw;
                const bool inside = 0 <= row && row < h && 0 <= column && column < w;
                out[(long long)(a * kw + b) * windows + i] =
                    inside ? image[(long long)row * w + column] : REAL(0);
            }
        }
    }
}

// One thread for one pixel: it adds up the taps that im2col read from it, in their order.
// Tap (a, b) of window (oy, ox) read this pixel if oy*sh = y + top - a*dh, and likewise for x:
// so the difference must be a multiple of the stride, and the window must exist.
extern "C" __global__ void __launch_bounds__(256)
col2im(const REAL* __restrict__ cols, REAL* __restrict__ x, int planes, int h, int w,
       int oh, int ow, int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    const int windows = oh * ow, pixels = h * w;
    const REAL* in = cols + (long long)blockIdx.x * kh * kw * windows;
    REAL* image = x + (long long)blockIdx.x * pixels;

    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < pixels; i += gridDim.y * blockDim.x) {
        const int row = i / w, column = i - row * w;
        REAL sum = 0;
        for (int a = 0; a < kh; ++a) {
            const int down = row + top - a * dh, oy = down / sh;
            if (down < 0 || oy * sh != down || oy >= oh) continue;
            for (int b = 0; b < kw; ++b) {
                const int along = column + left - b * dw, ox = along / sw;
                if (along < 0 || ox * sw != along || ox >= ow) continue;
                sum += in[(long long)(a * kw + b) * windows + oy * ow + ox];
            }
        }
        image[i] = sum;
    }
}
