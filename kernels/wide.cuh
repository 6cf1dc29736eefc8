// What the scans of wide recurrent layers share: all steps in one launch, whose blocks stay on the
// device and wait for each other after every step.  rnn_wide.cu, gru_wide.cu and lstm_wide.cu begin
// with this text; each adds its cell.
//
// blockIdx = (slice of UNITS hidden units, direction).  Shapes: T time steps, N sequences, S
// directions, H units, G gates (1, 3 or 4).
//
// A block holds the weights of its units in shared memory from the first step to the last:
//
//     forward     the G rows of W of each unit      held[j][gate UNITS + u],  j < H
//     backward    the column of W of each unit      held[gate H + r][u],      r < H
//
// Each step begins with one product for all sequences, of what all blocks wrote in the step before
// and what this one holds: h[t-1] (N, H) with the rows, or gz[t+1] (N, G H) with the columns.  Then
// a thread for each unit of each sequence, always the same one, does the elementwise part.
//
// h[t-1] and gz[t+1] are the arrays that are handed out: what a step reads was written at one time
// only, so nothing has to be written twice, and what was read is never written again.  They are
// read past the first-level cache, which another multiprocessor's writes do not reach.
//
// The blocks of a direction meet at `arrived[s]`, which begins as 0: a block adds 1 when its threads
// are through with a step, and goes on when all have.  All blocks must be on the device at once:
// the launcher sees to it.
//
// Direction 0 scans from time 0 on, direction 1 from time T-1 back: step k is time k or T-1-k.  A
// sequence that has ended (t >= lengths[n]) keeps its state, whichever way the scan goes.

// One array for each direction, or two: the biases of the input and of the state.  As the launcher
// passes a list; null where there is none.
struct Arrays {
    const REAL* at[64];
};

struct Results {
    REAL* at[64];
};

constexpr int THREADS = 256;
constexpr int MOST_LANES = 64;  // sequences of one product
constexpr int COLUMNS = 8;      // of a sequence's row, for one thread at a time
constexpr int TILE_LOG = 11;    // a tile has THREADS COLUMNS numbers

extern __shared__ __align__(16) REAL memory[];

__device__ __forceinline__ int time_of(int k, int s, int steps) {
    return s == 0 ? k : steps - 1 - k;
}

// All threads of all blocks of a direction have done what comes before.
__device__ __forceinline__ void everybody(unsigned* arrived, unsigned goal) {
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(arrived, 1u);
        while (atomicAdd(arrived, 0u) < goal) __nanosleep(20);
        __threadfence();
    }
    __syncthreads();
}

// ---- what a block is ----

struct Block {
    int s, first;   // its direction, its first unit
    int u, unit;    // this thread's: the same for all sequences that it sees
    int lanes_log;  // sequences of one product, as a power of 2: as many as there are, at most 64
    REAL *held, *tile, *sums;
};

// Of a cell of G gates.  shared memory: held, a tile, the sums of a product.
template <int G>
__device__ __forceinline__ Block block_of(int n, int hidden) {
    Block b;
    b.s = blockIdx.y;
    b.first = blockIdx.x * UNITS;
    b.u = threadIdx.x % UNITS;
    b.unit = b.first + b.u;
    b.lanes_log = 0;
    while (1 << b.lanes_log < min(n, MOST_LANES)) ++b.lanes_log;
    b.held = memory;
    b.tile = memory + (long long)G * UNITS * hidden;
    b.sums = b.tile + THREADS * (COLUMNS + 1);
    return b;
}

// Units that are not there have weights of 0.
template <int G>
__device__ __forceinline__ void hold_rows(const Block& b, const REAL* weight, int hidden) {
    for (int e = threadIdx.x; e < G * UNITS * hidden; e += THREADS) {
        const int m = e / hidden, j = e - m * hidden, unit = b.first + m % UNITS;
        const long long row = (long long)(m / UNITS) * hidden + unit;
        b.held[j * G * UNITS + m] = unit < hidden ? weight[row * hidden + j] : REAL(0);
    }
}

template <int G>
__device__ __forceinline__ void hold_columns(const Block& b, const REAL* weight, int hidden) {
    for (int e = threadIdx.x; e < G * hidden * UNITS; e += THREADS) {
        const int unit = b.first + e % UNITS;
        b.held[e] = unit < hidden ? weight[(long long)(e / UNITS) * hidden + unit] : REAL(0);
    }
}

// Where a unit of a sequence stands, before and after step k.
struct Place {
    long long now, earlier;  // its row in the arrays of the scan, at this step and the one before
    long long own;           // in the arrays of one step, (S, N, H)
    bool ended;
};

__device__ __forceinline__ Place place_of(const Block& b, int sequence, const long long* lengths,
                                          int k, int steps, int n, int directions, int hidden) {
    const int t = time_of(k, b.s, steps), before = time_of(k - 1, b.s, steps);
    return Place{((long long)t * n + sequence) * directions + b.s,
                 ((long long)before * n + sequence) * directions + b.s,
                 ((long long)b.s * n + sequence) * hidden + b.unit,
                 lengths && t >= lengths[sequence]};
}

// ---- the product of a step ----

// Of sequences one after the other: row i begins at first + i * stride.
struct Rows {
    const REAL* first;
    long long stride;
};

// Those of step k from sequence `base` on, in an array of the scan, (T, N, S, width).
__device__ __forceinline__ Rows rows_of(const REAL* array, const Block& b, int k, int base,
                                        int steps, int n, int directions, int width) {
    const long long stride = (long long)directions * width;
    const long long row = (long long)time_of(k, b.s, steps) * n + base;
    return Rows{array + row * stride + (long long)b.s * width, stride};
}

// The states before step k; null where these are zeros.
__device__ __forceinline__ Rows states_before(const Block& b, const REAL* states, const REAL* h0,
                                              int k, int base, int steps, int n, int directions,
                                              int hidden) {
    if (k) return rows_of(states, b, k - 1, base, steps, n, directions, hidden);
    return Rows{h0 ? h0 + ((long long)b.s * n + base) * hidden : h0, hidden};
}

__device__ constexpr int alignment(int bytes) { return bytes % 16 == 0 ? 16 : bytes % 8 == 0 ? 8 : 4; }

// What is read of shared memory at once, as wide as a load can be.
template <int M>
struct alignas(alignment(M * sizeof(REAL))) Row {
    REAL at[M];
};

// A thread's share of a tile, neighbours from neighbouring addresses; 0 beyond the sequences and
// the columns that are there.
__device__ __forceinline__ void read(REAL (&ahead)[COLUMNS], const Rows& x, int rows, int start,
                                     int depth, int width_log) {
#pragma unroll
    for (int i = 0; i < COLUMNS; ++i) {
        const int e = i * THREADS + threadIdx.x;
        const int row = e >> width_log, column = start + (e & ((1 << width_log) - 1));
        ahead[i] = 0;
        if (row < rows && column < depth) ahead[i] = __ldcg(x.first + row * x.stride + column);
    }
}

// sums[row][m] = sum over j < depth of x[row][j] held[j][m], for `rows` sequences.
//
// Thread (part, lane) adds up all M sums of one sequence over its part of the columns: of a tile
// of 2048 numbers, rows by columns, eight columns.  The next tile is asked for before this one is
// worked on.  At the end the parts meet in shared memory.
template <int M>
__device__ __forceinline__ void product(const Block& b, const Rows& x, int rows, int depth) {
    const int lanes = 1 << b.lanes_log, parts = THREADS >> b.lanes_log;
    const int lane = threadIdx.x & (lanes - 1), part = threadIdx.x >> b.lanes_log;
    const int width = parts * COLUMNS, width_log = TILE_LOG - b.lanes_log;
    const Row<M>* w = (const Row<M>*)b.held;
    REAL share[M] = {}, ahead[COLUMNS];
    read(ahead, x, rows, 0, depth, width_log);
    for (int start = 0; start < depth; start += width) {
        __syncthreads();  // the tile before has been read
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) {
            const int e = i * THREADS + threadIdx.x;
            const int row = e >> width_log, column = e & (width - 1);
            b.tile[(column / COLUMNS * lanes + row) * (COLUMNS + 1) + column % COLUMNS] = ahead[i];
        }
        __syncthreads();
        if (start + width < depth) read(ahead, x, rows, start + width, depth, width_log);
        const int first = start + part * COLUMNS;
        for (int j = 0; j < COLUMNS; ++j) {
            if (first + j >= depth) break;
            const REAL value = b.tile[(part * lanes + lane) * (COLUMNS + 1) + j];
            const Row<M> row = w[first + j];
#pragma unroll
            for (int m = 0; m < M; ++m) share[m] += row.at[m] * value;
        }
    }
#pragma unroll
    for (int m = 0; m < M; m += COLUMNS) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i)
            if (m + i < M) b.tile[threadIdx.x * (COLUMNS + 1) + i] = share[m + i < M ? m + i : 0];
        __syncthreads();
        for (int e = threadIdx.x; e < lanes * COLUMNS; e += THREADS) {
            const int row = e / COLUMNS, i = e % COLUMNS;
            if (m + i >= M) continue;
            REAL sum = 0;
            for (int p = 0; p < parts; ++p)
                sum += b.tile[(p * lanes + row) * (COLUMNS + 1) + i];
            b.sums[row * (M + 1) + m + i] = sum;
        }
    }
    __syncthreads();
}

// What is added up over all steps and sequences by the threads of each unit, for the gradients of
// the biases: thread (g, u), of the first UNITS K, gets the sum of total[g] of unit u.
template <int K>
__device__ __forceinline__ REAL over_threads(const Block& b, const REAL (&total)[K]) {
    __syncthreads();
#pragma unroll
    for (int g = 0; g < K; ++g) b.tile[g * THREADS + threadIdx.x] = total[g];
    __syncthreads();
    REAL sum = 0;
    if (threadIdx.x < UNITS * K)
        for (int i = b.u; i < THREADS; i += UNITS)
            sum += b.tile[threadIdx.x / UNITS * THREADS + i];
    return sum;
}
