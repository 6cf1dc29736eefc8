// What stands between matrix products: a bias, ReLU and its backward.
//
//   add_bias:       y (N, O) += bias (O,)      in place, on the product that was just made
//   add_bias_relu:  y = max(y + bias, 0)       likewise
//   relu:           y = max(x, 0); NaN stays NaN
//   relu_backward:  gx = gy where y > 0, else 0
//   relu_backward_sums:  the same, and the sum of each column of gx: a dense layer's bias gradient
//   column_sums:    sums of columns, into several arrays: the biases of a recurrent layer
//
// One thread an element, neighbouring threads on neighbouring addresses.
//
// Portable twins: LinearKernels.linear and linear_relu (what follows the product), relu,
// relu_backward and linear_relu_backward in nnx/backends/portable/linear.py.  Arrays are of STORE:
// float, double or Half; computed is in REAL.
//
// Bytes: add_bias and add_bias_relu read and write y; relu reads x and writes y; relu_backward reads
// two arrays and writes one.  As array operations they make a second sum, or an array of zeros,
// besides.

#define EACH(i, n)                                                          \
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;   \
    if (i >= n) return

extern "C" __global__ void __launch_bounds__(256)
add_bias(STORE* __restrict__ y, const STORE* __restrict__ bias, int columns, long long n) {
    EACH(i, n);
    y[i] += bias[i % columns];
}

// max(x, 0); NaN stays NaN.
__device__ __forceinline__ REAL positive(REAL x) { return x < 0 ? REAL(0) : x; }

extern "C" __global__ void __launch_bounds__(256)
add_bias_relu(STORE* __restrict__ y, const STORE* __restrict__ bias, int columns, long long n) {
    EACH(i, n);
    y[i] = positive(y[i] + bias[i % columns]);
}

extern "C" __global__ void __launch_bounds__(256)
relu(const STORE* __restrict__ x, STORE* __restrict__ y, long long n) {
    EACH(i, n);
    y[i] = positive(x[i]);
}

extern "C" __global__ void __launch_bounds__(256)
relu_backward(const STORE* __restrict__ gy, const STORE* __restrict__ y, STORE* __restrict__ gx,
              long long n) {
    EACH(i, n);
    gx[i] = y[i] > 0 ? gy[i] : REAL(0);
}

// relu_backward of a matrix (rows, columns), and the sum of each of its columns in the same pass.
// A block has 32 columns; its 8 rows of threads take every eighth row, and their sums meet in a
// tree of a fixed shape.  For few rows: one block reads all of them.
extern "C" __global__ void __launch_bounds__(256)
relu_backward_sums(const STORE* __restrict__ gy, const STORE* __restrict__ y, STORE* __restrict__ gx,
                   STORE* __restrict__ sums, int rows, int columns) {
    __shared__ REAL part[8][33];
    const int column = blockIdx.x * 32 + threadIdx.x;
    REAL sum = 0;
    if (column < columns)
        for (int row = threadIdx.y; row < rows; row += 8) {
            const long long i = (long long)row * columns + column;
            const REAL g = y[i] > 0 ? gy[i] : REAL(0);
            gx[i] = g;
            sum += g;
        }
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        REAL (*p)[33] = part;
        const int c = threadIdx.x;
        sums[column] = ((p[0][c] + p[1][c]) + (p[2][c] + p[3][c])) +
                       ((p[4][c] + p[5][c]) + (p[6][c] + p[7][c]));
    }
}

// Output k gets the sums of the columns starts[k] ... starts[k] + width - 1 of x (rows, columns).
// blockIdx.y counts outputs; within one the work is shared as above.
struct Outputs {
    STORE* at[64];
};
struct Starts {
    int at[64];
};

extern "C" __global__ void __launch_bounds__(256)
column_sums(const STORE* __restrict__ x, const Outputs sums, const Starts starts, int count,
            int width, int rows, int columns) {
    __shared__ REAL part[8][33];
    const int k = blockIdx.y, column = blockIdx.x * 32 + threadIdx.x;
    REAL sum = 0;
    if (column < width)
        for (int row = threadIdx.y; row < rows; row += 8)
            sum += x[(long long)row * columns + starts.at[k] + column];
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < width) {
        REAL (*p)[33] = part;
        const int c = threadIdx.x;
        sums.at[k][column] = ((p[0][c] + p[1][c]) + (p[2][c] + p[3][c])) +
                             ((p[4][c] + p[5][c]) + (p[6][c] + p[7][c]));
    }
}
