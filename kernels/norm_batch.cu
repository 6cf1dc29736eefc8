// Batch normalisation: every channel of x (N, C, L) over its N images and L positions.
//
//   y = weight[c] * (x - mean[c]) * inverse[c] + bias[c],   inverse = 1 / sqrt(variance + eps)
//
//   channel_moments    x -> count, mean and sum of squared deviations of parts of a channel
//   merge_moments      the parts -> mean, variance (biased), inverse (C,)
//   channel_normalize  x, mean, inverse, weight, bias -> y
//   channel_sums       gy, x, mean, inverse -> sum of gy and of gy * (x - mean) * inverse, in parts
//   merge_sums         the parts -> the gradients of bias and weight (C,)
//   batch_norm_backward    gy, x and those sums -> gx
//
// Portable twins: Backend.batch_norm and batch_norm_backward in nnx/backends/portable/norm.py;
// the derivation is in nnx/ops/norm/batch.py.  channel_sums also makes the weight gradients of
// layer and group norm (norm_layer.cu).  x, y and their
// gradients are of STORE (float, double or Half), all else is in REAL.
//
// Why in parts: a channel is reduced by several blocks, so that few channels still keep the whole
// device busy.  How many depends on the shape alone, the parts are merged in their order, and each
// block adds up in a fixed tree: results are deterministic, on every device the same.
//
// Why not the sum of squares: with a mean that is large against the deviation, sum(x^2)/n - mean^2
// cancels.  Each thread keeps a running mean and sum of squared deviations (Welford 1962), which
// are merged in pairs (Chan, Golub, LeVeque 1979), all in one pass over x.
//
// Bytes per element of x, float: forward reads x twice and writes y, 12; backward reads gy and x
// twice and writes gx, 20.
//
// Threads of a block, bx * by = 256.  With positions (L > 1), a block works on one channel:
// threadIdx.x runs along positions, threadIdx.y along images.  Without (L = 1, a dense layer's
// output), neighbouring threads are neighbouring channels, for those lie side by side in memory:
//
//     L > 1   x[n][c][l]    threadIdx.x -> l          one channel a block
//     L = 1   x[n][c]       threadIdx.x -> c          bx channels a block
//
// A long plane is cut into pieces of `span` positions; (image, piece) pairs, numbered
// image * cuts + piece, are dealt to the parts in turn.

struct Moments {
    REAL count, mean, squares;  // squares: the sum of (x - mean)^2
};

__device__ __forceinline__ Moments merged(const Moments& a, const Moments& b) {
    const REAL count = a.count + b.count;
    if (count == REAL(0)) return a;
    const REAL apart = b.mean - a.mean, share = b.count / count;
    return Moments{count, a.mean + apart * share,
                   a.squares + b.squares + apart * apart * a.count * share};
}

// Where a thread is: its channel, its first (image, piece) pair, and how far to the next.
struct Place {
    int channel, first, step;
};

__device__ __forceinline__ Place place_of_thread(int length) {
    const int channel = length == 1 ? blockIdx.x * blockDim.x + threadIdx.x : blockIdx.x;
    return Place{channel, (int)(blockIdx.y * blockDim.y + threadIdx.y),
                 (int)(gridDim.y * blockDim.y)};
}

// parts (3, gridDim.y, channels): count, mean, squares.
extern "C" __global__ void __launch_bounds__(256)
channel_moments(const STORE* __restrict__ x, REAL* __restrict__ parts, int images, int channels,
                int length, int cuts, int span) {
    __shared__ Moments table[256];
    const Place place = place_of_thread(length);
    Moments own = {0, 0, 0};
    if (place.channel < channels)
        for (int pair = place.first; pair < images * cuts; pair += place.step) {
            const int image = pair / cuts, begin = (pair - image * cuts) * span;
            const STORE* plane = x + ((long long)image * channels + place.channel) * length;
            const int end = min(begin + span, length);
            for (int l = begin + (length == 1 ? 0 : threadIdx.x); l < end; l += blockDim.x) {
                const REAL apart = plane[l] - own.mean;
                own.count += 1;
                own.mean += apart / own.count;
                own.squares += apart * (plane[l] - own.mean);
            }
        }

    const int t = threadIdx.y * blockDim.x + threadIdx.x;
    const int lanes = length == 1 ? blockDim.x : 1;  // results per block
    table[t] = own;
    __syncthreads();
    for (int half = blockDim.x * blockDim.y / 2; half >= lanes; half /= 2) {
        if (t < half) table[t] = merged(table[t], table[t + half]);
        __syncthreads();
    }
    if (t < lanes && place.channel < channels) {
        const long long at = (long long)blockIdx.y * channels + place.channel;
        const long long whole = (long long)gridDim.y * channels;
        parts[at] = table[t].count;
        parts[at + whole] = table[t].mean;
        parts[at + 2 * whole] = table[t].squares;
    }
}

// One warp for one channel: lane k merges the parts k, k + 32, ..., then the lanes merge in pairs.
extern "C" __global__ void __launch_bounds__(256)
merge_moments(const REAL* __restrict__ parts, REAL* __restrict__ mean,
              REAL* __restrict__ variance, REAL* __restrict__ inverse, int channels, int count,
              REAL eps) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (channel >= channels) return;  // the whole warp
    const long long whole = (long long)count * channels;
    Moments own = {0, 0, 0};
    for (int part = lane; part < count; part += 32) {
        const long long at = (long long)part * channels + channel;
        own = merged(own, Moments{parts[at], parts[at + whole], parts[at + 2 * whole]});
    }
    for (int far = 16; far > 0; far /= 2) {
        const Moments other = {__shfl_down_sync(0xffffffffu, own.count, far),
                               __shfl_down_sync(0xffffffffu, own.mean, far),
                               __shfl_down_sync(0xffffffffu, own.squares, far)};
        own = merged(own, other);
    }
    if (lane == 0) {
        const REAL biased = own.squares / own.count;
        mean[channel] = own.mean;
        variance[channel] = biased;
        inverse[channel] = REAL(1) / sqrt(biased + eps);
    }
}

// One thread for one element and those that stand blockDim.x further on in its plane; threadIdx.y
// runs along planes (image * channels + channel), so that short planes share a block.
extern "C" __global__ void __launch_bounds__(256)
channel_normalize(const STORE* __restrict__ x, const REAL* __restrict__ mean,
                  const REAL* __restrict__ inverse, const REAL* __restrict__ weight,
                  const REAL* __restrict__ bias, STORE* __restrict__ y, int planes, int channels,
                  int length) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y;
    if (plane >= planes) return;
    const int channel = plane % channels;
    const REAL center = mean[channel], shift = bias ? bias[channel] : REAL(0);
    const REAL scale = weight ? inverse[channel] * weight[channel] : inverse[channel];
    const long long first = (long long)plane * length;
    for (int l = blockIdx.y * blockDim.x + threadIdx.x; l < length; l += gridDim.y * blockDim.x)
        y[first + l] = (x[first + l] - center) * scale + shift;
}

// parts (2, gridDim.y, channels): the sums over images and positions of gy, and of gy times the
// normalised x.  Its mean and inverse are those of the channel where groups = 0 (batch norm), else
// those of the group of channels of this image: entry image * groups + channel / (channels/groups).
extern "C" __global__ void __launch_bounds__(256)
channel_sums(const STORE* __restrict__ gy, const STORE* __restrict__ x,
             const REAL* __restrict__ mean, const REAL* __restrict__ inverse,
             REAL* __restrict__ parts, int images, int channels, int length, int cuts, int span,
             int groups) {
    __shared__ REAL plain[256], along[256];
    const Place place = place_of_thread(length);
    REAL sum = 0, product = 0;
    if (place.channel < channels) {
        const int group = groups ? place.channel / (channels / groups) : place.channel;
        for (int pair = place.first; pair < images * cuts; pair += place.step) {
            const int image = pair / cuts, begin = (pair - image * cuts) * span;
            const long long plane = ((long long)image * channels + place.channel) * length;
            const int end = min(begin + span, length), at = image * groups + group;
            const REAL center = mean[at], scale = inverse[at];
            for (int l = begin + (length == 1 ? 0 : threadIdx.x); l < end; l += blockDim.x) {
                const REAL g = gy[plane + l];
                sum += g;
                product += g * ((x[plane + l] - center) * scale);
            }
        }
    }

    const int t = threadIdx.y * blockDim.x + threadIdx.x;
    const int lanes = length == 1 ? blockDim.x : 1;
    plain[t] = sum;
    along[t] = product;
    __syncthreads();
    for (int half = blockDim.x * blockDim.y / 2; half >= lanes; half /= 2) {
        if (t < half) {
            plain[t] += plain[t + half];
            along[t] += along[t + half];
        }
        __syncthreads();
    }
    if (t < lanes && place.channel < channels) {
        const long long at = (long long)blockIdx.y * channels + place.channel;
        parts[at] = plain[t];
        parts[at + (long long)gridDim.y * channels] = along[t];
    }
}

// One warp for one channel, as in merge_moments.
extern "C" __global__ void __launch_bounds__(256)
merge_sums(const REAL* __restrict__ parts, REAL* __restrict__ plain, REAL* __restrict__ along,
           int channels, int count) {
    const int channel = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (channel >= channels) return;
    const long long whole = (long long)count * channels;
    REAL sum = 0, product = 0;
    for (int part = lane; part < count; part += 32) {
        const long long at = (long long)part * channels + channel;
        sum += parts[at];
        product += parts[at + whole];
    }
    for (int far = 16; far > 0; far /= 2) {
        sum += __shfl_down_sync(0xffffffffu, sum, far);
        product += __shfl_down_sync(0xffffffffu, product, far);
    }
    if (lane == 0) {
        plain[channel] = sum;
        along[channel] = product;
    }
}

// gx = weight * inverse * (gy - mean(gy) - x^ mean(gy x^)) with x^ = (x - mean) * inverse and the
// means over the `count` elements of a channel: the closed form (Xu 6.23).  One thread for one
// element, as in channel_normalize.
extern "C" __global__ void __launch_bounds__(256)
batch_norm_backward(const STORE* __restrict__ gy, const STORE* __restrict__ x,
                    const REAL* __restrict__ mean, const REAL* __restrict__ inverse,
                    const REAL* __restrict__ weight, const REAL* __restrict__ plain,
                    const REAL* __restrict__ along, STORE* __restrict__ gx, int planes,
                    int channels, int length, REAL count) {
    const int plane = blockIdx.x * blockDim.y + threadIdx.y;
    if (plane >= planes) return;
    const int channel = plane % channels;
    const REAL center = mean[channel], narrow = inverse[channel];
    const REAL scale = weight ? narrow * weight[channel] : narrow;
    const REAL mean_gy = plain[channel] / count, mean_along = along[channel] / count;
    const long long first = (long long)plane * length;
    for (int l = blockIdx.y * blockDim.x + threadIdx.x; l < length; l += gridDim.y * blockDim.x) {
        const REAL normal = (x[first + l] - center) * narrow;
        gx[first + l] = scale * (gy[first + l] - mean_gy - normal * mean_along);
    }
}

// One thread for one channel: the running statistics move towards the batch's, whose variance is
// made unbiased; the first thread counts the batch.
extern "C" __global__ void __launch_bounds__(256)
track_moments(REAL* __restrict__ running_mean, REAL* __restrict__ running_variance,
              long long* __restrict__ batches, const REAL* __restrict__ mean,
              const REAL* __restrict__ variance, REAL fresh, REAL unbiased, int channels) {
    const int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel == 0) batches[0] += 1;
    if (channel >= channels) return;
    const REAL m = running_mean[channel], v = running_variance[channel];
    running_mean[channel] = m * (1 - fresh) + mean[channel] * fresh;
    running_variance[channel] = v * (1 - fresh) + variance[channel] * unbiased * fresh;
}
