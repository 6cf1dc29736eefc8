// Convolutions of few channels as one matrix product whose second factor, the columns of im2col, is
// never in memory: each block gathers the tile of it that it multiplies.
//
//   conv_forward     y (N, O, oh, ow) = W (O, C/G kh kw) times the columns of x (N, C, H, W), + bias
//   conv_data        gx (N, C, H, W) from gy (N, O, oh, ow): the same with W^T, every pixel gathering
//                    from the windows that it was in (stride 1; with others most would be zeros)
//
// Rows of the product are output channels of a group; columns are the pixels of all images, one after
// the other; what is summed over are the taps (channel, a, b) of a window.  blockIdx.x counts tiles:
// rows first, then groups, then columns.
//
//                    columns: 64 pixels
//                  +------------------+
//      16 taps  -> |  tile of pixels  |        256 threads; thread (tx, ty), 16 x 16, adds up the
//                  +------------------+        4 x 4 outputs of rows ty + 16 i, columns tx + 16 j,
//     +---------+  +------------------+        so that a warp reads and writes neighbours
//     | weights |  |     outputs      |
//     |  64 x 16|  |     64 x 64      |
//     +---------+  +------------------+
//
// Portable twins: ConvKernels.conv2d and conv2d_backward in
// nnx/backends/portable/convolution/conv.py.  Arrays are of STORE:
// float, double or Half; computed is in REAL.
//
// Bytes: x and W read, y written; the taps of a pixel overlap, and the caches serve them.  By way of
// columns, C kh kw / O times as many bytes as y has are written and read besides.  Every output is
// added up by one thread, tap after tap: deterministic, and the same whatever else is in the batch.

constexpr int ROWS = 64, COLUMNS = 64, TAPS = 16;

struct Shape {
    int channels, h, w;      // of the image that is gathered from, channels of one group
    int rows, out_h, out_w;  // of the image that is made
    int kh, kw, sh, sw, top, left, dh, dw;
};

// Where tap (a, b) of the pixel (row, column) of the result reads; below 0: outside.
template <bool DATA>
__device__ __forceinline__ int tap(const Shape& s, int row, int column, int a, int b) {
    int y, x;
    if (DATA) {  // stride 1
        y = row + s.top - a * s.dh;
        x = column + s.left - b * s.dw;
    } else {
        y = row * s.sh - s.top + a * s.dh;
        x = column * s.sw - s.left + b * s.dw;
    }
    return 0 <= y && y < s.h && 0 <= x && x < s.w ? y * s.w + x : -1;
}

template <bool DATA>
__device__ __forceinline__ void multiply(const STORE* image, const STORE* weight, const STORE* bias,
                                         STORE* out, int n, int groups, const Shape& s) {
    __shared__ REAL left[TAPS][ROWS + 1], right[TAPS][COLUMNS];
    const int places = s.kh * s.kw, taps = s.channels * places, pixels = s.out_h * s.out_w;
    const long long columns = (long long)n * pixels;
    // Neighbouring blocks are the rows of one tile of columns, which they find in the cache.
    const int row_tiles = (s.rows + ROWS - 1) / ROWS, others = blockIdx.x / row_tiles;
    const int first_row = (blockIdx.x - others * row_tiles) * ROWS, group = others % groups;
    const long long first_column = (long long)(others / groups) * COLUMNS;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;

    // The column that this thread gathers, the same for all taps.
    const int lane = threadIdx.x % COLUMNS, begin = threadIdx.x / COLUMNS;
    const long long own = first_column + lane;
    const bool inside = own < columns;
    const int picture = inside ? (int)(own / pixels) : 0;
    const int pixel = inside ? (int)(own - (long long)picture * pixels) : 0;
    const int row = pixel / s.out_w, column = pixel - row * s.out_w;
    const int size = s.h * s.w;
    const STORE* from = image + ((long long)picture * groups + group) * s.channels * size;

    REAL sum[4][4] = {};
    for (int start = 0; start < taps; start += TAPS) {
        __syncthreads();
#pragma unroll 1
        for (int k = begin; k < TAPS; k += 256 / COLUMNS) {
            const int at = start + k, c = at / places, place = at - c * places;
            REAL value = 0;
            if (inside && at < taps) {
                const int there = tap<DATA>(s, row, column, place / s.kw, place % s.kw);
                if (there >= 0) value = from[(long long)c * size + there];
            }
            right[k][lane] = value;
        }
#pragma unroll 1
        for (int e = threadIdx.x; e < ROWS * TAPS; e += 256) {
            const int k = e % TAPS, at = start + k, r = first_row + e / TAPS;
            REAL value = 0;
            if (r < s.rows && at < taps) {
                const int c = at / places, place = at - c * places;
                // W (O, C/G, kh, kw): the rows of the result are its first or its second axis
                value = DATA ? weight[(((long long)group * s.channels + c) * s.rows + r) * places +
                                      place]
                             : weight[((long long)group * s.rows + r) * taps + at];
            }
            left[k][e / TAPS] = value;
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < TAPS; ++k) {
            REAL a[4], b[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                a[i] = left[k][ty + 16 * i];
                b[i] = right[k][tx + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sum[i][j] += a[i] * b[j];
        }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const long long at = first_column + tx + 16 * j;
        if (at >= columns) continue;
        const long long which = at / pixels;
        const int place = (int)(at - which * pixels);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int r = first_row + ty + 16 * i;
            if (r >= s.rows) continue;
            const int channel = group * s.rows + r;
            const REAL add = bias ? bias[channel] : REAL(0);
            out[(which * groups * s.rows + channel) * pixels + place] = sum[i][j] + add;
        }
    }
}

#define GEOMETRY                                                                               \
    int n, int groups, int channels, int h, int w, int rows, int out_h, int out_w, int kh,     \
        int kw, int sh, int sw, int top, int left, int dh, int dw
#define SHAPE \
    Shape { channels, h, w, rows, out_h, out_w, kh, kw, sh, sw, top, left, dh, dw }

extern "C" __global__ void __launch_bounds__(256, 1)
conv_forward(const STORE* __restrict__ x, const STORE* __restrict__ weight,
             const STORE* __restrict__ bias, STORE* __restrict__ y, GEOMETRY) {
    multiply<false>(x, weight, bias, y, n, groups, SHAPE);
}

extern "C" __global__ void __launch_bounds__(256, 1)
conv_data(const STORE* __restrict__ gy, const STORE* __restrict__ weight, STORE* __restrict__ gx,
          GEOMETRY) {
    multiply<true>(gy, weight, nullptr, gx, n, groups, SHAPE);
}
