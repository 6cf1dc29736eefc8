// Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011): words, uniforms, masks, dropout.
//
// Block b of a draw is a function of a key (two words) and a counter (four words, lowest first):
// there is no state, so one thread makes one block, and its four words become
//
//   philox:   four uint32
//   uniform:  four float32 (w >> 8) / 2^24, or two float64 ((v >> 5) 2^26 + (w >> 6)) / 2^53
//   mask:     four bools, true where a word is below the threshold
//   dropout:  four elements x * scale where a word is below the threshold, 0 elsewhere
//
// Portable twins: RandomKernels.philox, random_uniform, random_mask and dropout in
// nnx/backends/portable/random.py, equal to the last bit: integer arithmetic, and floats that are
// multiples of a power of two.  REAL is float or double; what
// dropout reads and writes is of STORE: that, or Half.
//
// Bytes: what is written, and for dropout what is read; nothing else touches memory.  The mask of
// dropout is never stored: its backward draws it again from the same counter.

struct Words {
    unsigned w[4];
};

// Block number `block` after the counter: only the low 64 bits count, and wrap.
__device__ __forceinline__ Words philox_block(unsigned k0, unsigned k1, unsigned long long low,
                                              unsigned c2, unsigned c3, long long block) {
    const unsigned long long position = low + (unsigned long long)block;
    unsigned c0 = (unsigned)position, c1 = (unsigned)(position >> 32);
    #pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Four elements at once, in one or two transactions of 16 bytes where the address allows it.
template <class T>
struct __align__(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) Four {
    T v[4];
};

template <class T>
__device__ __forceinline__ bool whole(const T* p, long long i, long long n) {
    return 4 * i + 3 < n && (unsigned long long)p % alignof(Four<T>) == 0;
}

template <class T>
__device__ __forceinline__ void store(T* p, long long i, long long n, const Four<T>& four) {
    if (whole(p, i, n)) {
        reinterpret_cast<Four<T>*>(p)[i] = four;
        return;
    }
    #pragma unroll
    for (int j = 0; j < 4; ++j)
        if (4 * i + j < n) p[4 * i + j] = four.v[j];
}

template <class T>
__device__ __forceinline__ Four<T> load(const T* p, long long i, long long n) {
    if (whole(p, i, n)) return reinterpret_cast<const Four<T>*>(p)[i];
    Four<T> four;
    #pragma unroll
    for (int j = 0; j < 4; ++j) {
        four.v[j] = 0;
        if (4 * i + j < n) four.v[j] = p[4 * i + j];
    }
    return four;
}

// Each thread makes blocks i, i + stride, ...: the grid need not cover the draw.
#define EACH_BLOCK(i, blocks)                                                        \
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < blocks; \
         i += (long long)gridDim.x * blockDim.x)

extern "C" __global__ void __launch_bounds__(256)
philox(unsigned* __restrict__ words, unsigned k0, unsigned k1, unsigned long long low,
       unsigned c2, unsigned c3, long long n) {
    EACH_BLOCK(i, (n + 3) / 4) {
        const Words block = philox_block(k0, k1, low, c2, c3, i);
        store(words, i, n, Four<unsigned>{{block.w[0], block.w[1], block.w[2], block.w[3]}});
    }
}

// float takes a word for each number, so a block makes four; double two, so two blocks do.
extern "C" __global__ void __launch_bounds__(256)
random_uniform(REAL* __restrict__ y, unsigned k0, unsigned k1, unsigned long long low,
               unsigned c2, unsigned c3, long long n) {
    EACH_BLOCK(i, (n + 3) / 4) {
        Four<REAL> four;
        if (sizeof(REAL) == 4) {
            const Words block = philox_block(k0, k1, low, c2, c3, i);
            #pragma unroll
            for (int j = 0; j < 4; ++j)
                four.v[j] = REAL(block.w[j] >> 8) * REAL(1.0 / 16777216.0);
        } else {
            #pragma unroll
            for (int half = 0; half < 2; ++half) {
                const Words block = philox_block(k0, k1, low, c2, c3, 2 * i + half);
                #pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const long long grid = ((long long)(block.w[2 * j] >> 5) << 26) +
                                           (block.w[2 * j + 1] >> 6);
                    four.v[2 * half + j] = REAL((double)grid * (1.0 / 9007199254740992.0));
                }
            }
        }
        store(y, i, n, four);
    }
}

// The threshold is 64 bits wide because 2^32, always true, is one.
extern "C" __global__ void __launch_bounds__(256)
random_mask(bool* __restrict__ mask, unsigned k0, unsigned k1, unsigned long long low,
            unsigned c2, unsigned c3, unsigned long long threshold, long long n) {
    EACH_BLOCK(i, (n + 3) / 4) {
        const Words block = philox_block(k0, k1, low, c2, c3, i);
        Four<bool> four;
        #pragma unroll
        for (int j = 0; j < 4; ++j) four.v[j] = block.w[j] < threshold;
        store(mask, i, n, four);
    }
}

extern "C" __global__ void __launch_bounds__(256)
dropout(const STORE* __restrict__ x, STORE* __restrict__ y, unsigned k0, unsigned k1,
        unsigned long long low, unsigned c2, unsigned c3, unsigned long long threshold,
        REAL scale, long long n) {
    EACH_BLOCK(i, (n + 3) / 4) {
        const Words block = philox_block(k0, k1, low, c2, c3, i);
        Four<STORE> four = load(x, i, n);
        #pragma unroll
        for (int j = 0; j < 4; ++j)
            four.v[j] = block.w[j] < threshold ? four.v[j] * scale : REAL(0);
        store(y, i, n, four);
    }
}
