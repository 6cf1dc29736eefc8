// Lets g++ compile an unmodified CUDA C file, so that it can run on the CPU (for tests only).
//
// A kernel is an ordinary function here.  Every CUDA thread of a block becomes a fiber, all on
// one operating-system thread, and blocks run one after another (scheduler.cpp).  What kernels
// may use is declared in these headers and nothing else: a name that is missing here is either
// forbidden in portable kernels (kernels are compiled by NVRTC, which has no INFINITY, no
// int64_t and no standard headers), or waits to be added.
#pragma once

#include <math.h>  // C++'s own: it has exp(float) and exp(double) in the global namespace, as CUDA
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

// NVRTC refuses these names, so they are refused here.
#undef INFINITY
#undef NAN
#undef M_PI

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ thread_local  // legal both on a local variable and after `extern`
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

// The harness's own code, which the checker must not check.
#define CUDA_CPU_UNCHECKED __attribute__((no_sanitize("thread", "undefined")))

#include "index.h"

#include "atomics.h"
#include "functions.h"
#include "half.h"
#include "vectors.h"
#include "warp.h"
