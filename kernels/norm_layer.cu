// Normalisation of rows: layer norm (a row is a sample) and group norm (a row is a group of one
// sample's channels, with all their positions).
//
//   y[r][i] = weight[c] * (x[r][i] - mean[r]) * inverse[r] + bias[c]
//
//   row_normalize            x (rows, length) -> y, mean (rows,), inverse (rows,)
//   row_normalize_backward   gy, x, mean, inverse, weight -> gx
//
// Portable twins: Backend.layer_norm, group_norm and their backward in
// nnx/backends/portable/norm.py.  The gradients of weight and bias are channel_sums of
// norm_batch.cu.  x, y and their
// gradients are of STORE (float, double or Half), all else is in REAL.
//
// One block for one row, since rows are many.  The row is read twice, the second time from cache.
// Bytes per element, float: forward 8, backward 12.
//
// Which channel an element belongs to: a row holds `channels / groups` of them, `inner` elements
// each (layer norm: groups = 1, inner = 1), and row r is group r % groups of its sample.
//
//     group norm, C = 4, groups = 2, 3 positions        row 0   c0 c0 c0 c1 c1 c1
//                                                       row 1   c2 c2 c2 c3 c3 c3

struct Moments {
    REAL count, mean, squares;  // squares: the sum of (x - mean)^2
};

// Chan, Golub, LeVeque 1979, as in norm_batch.cu.
__device__ __forceinline__ Moments merged(const Moments& a, const Moments& b) {
    const REAL count = a.count + b.count;
    if (count == REAL(0)) return a;
    const REAL apart = b.mean - a.mean, share = b.count / count;
    return Moments{count, a.mean + apart * share,
                   a.squares + b.squares + apart * apart * a.count * share};
}

__device__ __forceinline__ int first_channel(int length, int inner, int groups) {
    return (int)(blockIdx.x % groups) * (length / inner);
}

extern "C" __global__ void __launch_bounds__(256)
row_normalize(const STORE* __restrict__ x, const REAL* __restrict__ weight,
              const REAL* __restrict__ bias, STORE* __restrict__ y, REAL* __restrict__ mean,
              REAL* __restrict__ inverse, int rows, int length, int inner, int groups, REAL eps) {
    __shared__ Moments table[256];
    const int t = threadIdx.x;
    const STORE* row = x + (long long)blockIdx.x * length;
    Moments own = {0, 0, 0};
    for (int i = t; i < length; i += blockDim.x) {
        const REAL apart = row[i] - own.mean;
        own.count += 1;
        own.mean += apart / own.count;
        own.squares += apart * (row[i] - own.mean);
    }
    table[t] = own;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) table[t] = merged(table[t], table[t + half]);
        __syncthreads();
    }

    const REAL center = table[0].mean;
    const REAL narrow = REAL(1) / sqrt(table[0].squares / length + eps);
    if (t == 0) {
        mean[blockIdx.x] = center;
        inverse[blockIdx.x] = narrow;
    }
    const int first = first_channel(length, inner, groups);
    STORE* out = y + (long long)blockIdx.x * length;
    for (int i = t; i < length; i += blockDim.x) {
        const int c = first + i / inner;
        const REAL normal = (row[i] - center) * narrow;
        out[i] = normal * (weight ? weight[c] : REAL(1)) + (bias ? bias[c] : REAL(0));
    }
}

// gx = inverse * (g - mean(g) - x^ mean(g x^)) with g = weight * gy, x^ = (x - mean) * inverse,
// the means over the row.
extern "C" __global__ void __launch_bounds__(256)
row_normalize_backward(const STORE* __restrict__ gy, const STORE* __restrict__ x,
                       const REAL* __restrict__ mean, const REAL* __restrict__ inverse,
                       const REAL* __restrict__ weight, STORE* __restrict__ gx, int rows,
                       int length, int inner, int groups) {
    __shared__ REAL plain[256], along[256];
    const int t = threadIdx.x, first = first_channel(length, inner, groups);
    const STORE *row = x + (long long)blockIdx.x * length, *in = gy + (long long)blockIdx.x * length;
    const REAL center = mean[blockIdx.x], narrow = inverse[blockIdx.x];
    REAL sum = 0, product = 0;
    for (int i = t; i < length; i += blockDim.x) {
        const REAL g = in[i] * (weight ? weight[first + i / inner] : REAL(1));
        sum += g;
        product += g * ((row[i] - center) * narrow);
    }
    plain[t] = sum;
    along[t] = product;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half) {
            plain[t] += plain[t + half];
            along[t] += along[t + half];
        }
        __syncthreads();
    }

    const REAL mean_g = plain[0] / length, mean_along = along[0] / length;
    STORE* out = gx + (long long)blockIdx.x * length;
    for (int i = t; i < length; i += blockDim.x) {
        const REAL g = in[i] * (weight ? weight[first + i / inner] : REAL(1));
        const REAL normal = (row[i] - center) * narrow;
        out[i] = (g - mean_g - normal * mean_along) * narrow;
    }
}
