// Warp primitives.  All are built on one operation of the scheduler: the lanes of a mask meet,
// each brings eight bytes, and each sees what all brought.
#pragma once

extern "C" {
enum WarpKind { WARP_SHFL, WARP_UP, WARP_DOWN, WARP_XOR, WARP_BALLOT, WARP_SYNC };
const uint64_t* cuda_cpu_meet(unsigned mask, uint64_t value, WarpKind kind, int line);
unsigned cuda_cpu_lane();
unsigned cuda_cpu_active_mask();
void cuda_cpu_fault(const char* what, int line);
}

template <class T>
CUDA_CPU_UNCHECKED static T cuda_cpu_shuffle(WarpKind kind, unsigned mask, T value, int operand,
                                             int width, int line) {
  static_assert(sizeof(T) <= 8);
  const int lane = (int)cuda_cpu_lane(), base = lane & ~(width - 1), end = base + width;
  int source = lane;
  if (kind == WARP_SHFL) source = base + (operand & (width - 1));
  if (kind == WARP_UP) source = lane - operand;
  if (kind == WARP_DOWN) source = lane + operand;
  if (kind == WARP_XOR) source = lane ^ operand;
  if (source < base || source >= end) source = lane;  // beyond the segment: one's own value

  uint64_t mine = 0;
  __builtin_memcpy(&mine, &value, sizeof value);
  const uint64_t* values = cuda_cpu_meet(mask, mine, kind, line);
  if (!(mask >> source & 1)) cuda_cpu_fault("shuffle reads a lane that is not in its mask", line);
  T result;
  __builtin_memcpy(&result, &values[source], sizeof result);
  return result;
}

// The default argument is evaluated where the primitive is called: the kernel's own line.
#define CUDA_CPU_LINE int line = __builtin_LINE()
template <class T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_CPU_LINE) {
  return cuda_cpu_shuffle(WARP_SHFL, mask, value, source, width, line);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                               CUDA_CPU_LINE) {
  return cuda_cpu_shuffle(WARP_UP, mask, value, (int)delta, width, line);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                 CUDA_CPU_LINE) {
  return cuda_cpu_shuffle(WARP_DOWN, mask, value, (int)delta, width, line);
}
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32,
                                CUDA_CPU_LINE) {
  return cuda_cpu_shuffle(WARP_XOR, mask, value, flip, width, line);
}
CUDA_CPU_UNCHECKED static inline unsigned __ballot_sync(unsigned mask, int predicate,
                                                        CUDA_CPU_LINE) {
  const uint64_t* votes = cuda_cpu_meet(mask, !!predicate, WARP_BALLOT, line);
  unsigned ballot = 0;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) ballot |= (unsigned)votes[lane] << lane;
  return ballot;
}
static inline int __any_sync(unsigned mask, int predicate, CUDA_CPU_LINE) {
  return __ballot_sync(mask, predicate, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, CUDA_CPU_LINE) {
  return __ballot_sync(mask, predicate, line) == mask;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_CPU_LINE) {
  cuda_cpu_meet(mask, 0, WARP_SYNC, line);
}
static inline unsigned __activemask() { return cuda_cpu_active_mask(); }
#undef CUDA_CPU_LINE
