// The vector types, with CUDA's sizes and alignments.
#pragma once

#define CUDA_CPU_VECTOR(T, name)                                                         \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                     \
  struct name##3 { T x, y, z; };                                                         \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) name##4 { T x, y, z, w; };     \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }                      \
  static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }              \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_CPU_VECTOR(float, float)
CUDA_CPU_VECTOR(double, double)
CUDA_CPU_VECTOR(int, int)
CUDA_CPU_VECTOR(unsigned char, uchar)
#undef CUDA_CPU_VECTOR
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
