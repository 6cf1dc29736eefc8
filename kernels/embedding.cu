// Adding rows up by index: the backward pass of an embedding.
//
//   values (M, E), indices (M,)  ->  out (V, E),  out[v] = sum of values[k] over indices[k] == v
//
// The indices arrive sorted, as keys, with the order that sorts them (stable); equal keys stand in
// a run, and a run is one row's sum.  Each sum has one shape, whatever the timing: eight partial
// sums of every eighth entry of the run, then the eight in order.  No atomic additions.
//
// Portable twin: EmbeddingKernels.index_add in nnx/backends/portable/embedding.py.
// values and out are of STORE: float, double or Half; the sums are in REAL.
//
// Bytes: reads each row of values once, in the order of the keys, and writes out once, most of it
// zeros where the vocabulary is large.

// starts[v] = how many keys are below v, for v = 0 .. rows: run v is starts[v] .. starts[v + 1].
extern "C" __global__ void __launch_bounds__(256)
run_starts(const long long* __restrict__ keys, int* __restrict__ starts, int m, int rows) {
    const int v = blockIdx.x * blockDim.x + threadIdx.x;
    if (v > rows) return;
    int low = 0, high = m;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (keys[middle] < v)
            low = middle + 1;
        else
            high = middle;
    }
    starts[v] = low;
}

// A block of 32 x 8 threads makes 32 columns of one row; its eight groups share the run.
extern "C" __global__ void __launch_bounds__(256)
index_add(const STORE* __restrict__ values, const long long* __restrict__ order,
          const int* __restrict__ starts, STORE* __restrict__ out, int columns) {
    __shared__ REAL part[8][32];
    const int row = blockIdx.x, column = blockIdx.y * 32 + threadIdx.x, group = threadIdx.y;
    const int begin = starts[row], end = starts[row + 1];
    REAL sum = 0;
    if (column < columns)
        for (int k = begin + group; k < end; k += 8)
            sum += values[order[k] * columns + column];
    if (end - begin > 1) {  // the same for the whole block
        part[group][threadIdx.x] = sum;
        __syncthreads();
        sum = 0;
        for (int g = 0; g < 8; ++g) sum += part[g][threadIdx.x];
    }
    if (group == 0 && column < columns) out[(long long)row * columns + column] = sum;
}
