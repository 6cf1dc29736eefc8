// CUDA's mathematical functions that C does not have under the same name.
//
// glibc *declares* __expf and its kin without exporting them, so they are renamed by macro and
// not defined.  Results are the CPU's: the fast intrinsics are less exact on a GPU.
#pragma once

#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanhf(x) tanhf(x)
#define __fdividef(a, b) ((float)(a) / (float)(b))
#define __frcp_rn(x) (1.0f / (float)(x))
#define __fsqrt_rn(x) sqrtf(x)
#define __fmaf_rn(a, b, c) fmaf(a, b, c)
#define __ldg(p) (*(p))
#define __ldcg(p) (*(p))

template <class To, class From>
CUDA_CPU_UNCHECKED static inline To cuda_cpu_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Products and sums that the compiler may not fuse: on the CPU none are fused.
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline float __saturatef(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

static inline int __float_as_int(float x) { return cuda_cpu_bits<int>(x); }
static inline unsigned __float_as_uint(float x) { return cuda_cpu_bits<unsigned>(x); }
static inline float __int_as_float(int x) { return cuda_cpu_bits<float>(x); }
static inline float __uint_as_float(unsigned x) { return cuda_cpu_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return cuda_cpu_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return cuda_cpu_bits<double>(x); }

static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return (unsigned)((unsigned long long)a * b >> 32);
}

template <class A, class B>
static inline auto min(A a, B b) -> decltype(a + b) {
  return a < b ? a : b;
}
template <class A, class B>
static inline auto max(A a, B b) -> decltype(a + b) {
  return a > b ? a : b;
}
