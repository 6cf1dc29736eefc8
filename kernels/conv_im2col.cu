// im2col and its transpose, col2im, for a batch of images, in two layouts of the columns.
//
//   im2col: x (N, C, H, W) -> cols (N, C*kh*kw, oh*ow)  or  (C*kh*kw, N, oh*ow)
//   col2im: the other way, adding up what im2col read from one pixel
//   swap_axes: (A, B, P) -> (B, A, P), and a bias (A,) added on the way
//
// The second layout makes a convolution of a batch one matrix product, W (O, C*kh*kw) times cols;
// the result (O, N, oh*ow) becomes an image again by swap_axes.
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
// Portable twins: ConvKernels.im2col, col2im and conv2d in nnx/backends/portable/convolution/conv.py.
// Arrays are of STORE: float, double or Half; computed is in REAL.
//
// Bytes: im2col reads x once from memory (the taps overlap, and caches serve them) and writes
// cols; col2im reads cols once and writes x; swap_axes reads and writes once.  None needs an atomic operation, for each output
// element is made by one thread, in a fixed order of additions: results are deterministic.
//
// A block works on one plane (image and channel): blockIdx.x counts planes, which may be many;
// blockIdx.y counts pieces of the plane, and a thread strides on if there are too few.

//
// Row r = (channel, a, b) of the columns of image n begins at n * image_stride + r * row_stride.

#define PLANE(planes)                                           \
    const int plane = blockIdx.x * blockDim.y + threadIdx.y;    \
    if (plane >= planes) return
#define ALONG(i, size)                                                     \
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < size;          \
         i += gridDim.y * blockDim.x)

// One thread for one window of one channel: it copies the kh*kw taps.  Neighbouring threads are
// neighbouring windows, so that each tap is written to consecutive addresses.
extern "C" __global__ void __launch_bounds__(256)
im2col(const STORE* __restrict__ x, STORE* __restrict__ cols, long long image_stride,
       long long row_stride, int planes, int channels, int h, int w, int oh, int ow,
       int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    PLANE(planes);
    const int windows = oh * ow, n = plane / channels, c = plane % channels;
    const STORE* image = x + (long long)plane * h * w;
    STORE* out = cols + n * image_stride + (long long)c * kh * kw * row_stride;

    ALONG(i, windows) {
        const int oy = i / ow, ox = i - oy * ow;
        STORE* to = out + i;
        for (int a = 0; a < kh; ++a) {
            const int row = oy * sh - top + a * dh;
            const STORE* from = image + (long long)row * w;
            const bool inside = 0 <= row && row < h;
            #pragma unroll 2  // 32 registers and no spill on every architecture
            for (int b = 0; b < kw; ++b, to += row_stride) {
                const int column = ox * sw - left + b * dw;
                *to = inside && 0 <= column && column < w ? REAL(from[column]) : REAL(0);
            }
        }
    }
}

// One thread for one pixel: it adds up the taps that im2col read from it, in their order.
// Tap (a, b) of window (oy, ox) read this pixel if oy*sh = y + top - a*dh, and likewise for x:
// so the difference must be a multiple of the stride, and the window must exist.
extern "C" __global__ void __launch_bounds__(256)
col2im(const STORE* __restrict__ cols, STORE* __restrict__ x, long long image_stride,
       long long row_stride, int planes, int channels, int h, int w, int oh, int ow,
       int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    PLANE(planes);
    const int pixels = h * w, n = plane / channels, c = plane % channels;
    const STORE* in = cols + n * image_stride + (long long)c * kh * kw * row_stride;
    STORE* image = x + (long long)plane * pixels;

    ALONG(i, pixels) {
        const int row = i / w, column = i - row * w;
        REAL sum = 0;
        for (int a = 0; a < kh; ++a) {
            const int down = row + top - a * dh, oy = down / sh;
            if (down < 0 || oy * sh != down || oy >= oh) continue;
            for (int b = 0; b < kw; ++b) {
                const int along = column + left - b * dw, ox = along / sw;
                if (along < 0 || ox * sw != along || ox >= ow) continue;
                sum += in[(a * kw + b) * row_stride + oy * ow + ox];
            }
        }
        image[i] = sum;
    }
}

// A plane of y is one of x: (b, a) of the result is (a, b) of what is read.
extern "C" __global__ void __launch_bounds__(256)
swap_axes(const STORE* __restrict__ x, const STORE* __restrict__ bias, STORE* __restrict__ y,
          int first, int second, int length) {
    PLANE(first * second);
    const int a = plane % first, b = plane / first;
    const REAL add = bias ? bias[a] : REAL(0);
    const STORE* in = x + ((long long)a * second + b) * length;
    STORE* out = y + ((long long)b * first + a) * length;
    ALONG(i, length) out[i] = in[i] + add;
}
