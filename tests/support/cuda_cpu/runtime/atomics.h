// Atomic operations.  Fibers never run at the same time, so plain code is atomic here; the
// checker is told that the access is an atomic one, for two atomics on one place are no race.
#pragma once

extern "C" {
extern int cuda_cpu_checking;
void cuda_cpu_atomic_access(const void* address, unsigned bytes, void* caller);
}

#define CUDA_CPU_ATOMIC(name, updated)                                                   \
  template <class T, class U>                                                            \
  CUDA_CPU_UNCHECKED __attribute__((noinline)) static T name(T* address, U operand) {    \
    if (cuda_cpu_checking)                                                               \
      cuda_cpu_atomic_access(address, sizeof(T), __builtin_return_address(0));           \
    T old = *address, value = (T)operand;                                                \
    *address = (updated);                                                                \
    return old;                                                                          \
  }
CUDA_CPU_ATOMIC(atomicAdd, old + value)
CUDA_CPU_ATOMIC(atomicSub, old - value)
CUDA_CPU_ATOMIC(atomicExch, value)
CUDA_CPU_ATOMIC(atomicMax, old > value ? old : value)
CUDA_CPU_ATOMIC(atomicMin, old < value ? old : value)
CUDA_CPU_ATOMIC(atomicOr, old | value)
CUDA_CPU_ATOMIC(atomicAnd, old & value)
#undef CUDA_CPU_ATOMIC

template <class T>
CUDA_CPU_UNCHECKED __attribute__((noinline)) static T atomicCAS(T* address, T expected, T value) {
  if (cuda_cpu_checking)
    cuda_cpu_atomic_access(address, sizeof(T), __builtin_return_address(0));
  T old = *address;
  if (old == expected) *address = value;
  return old;
}

// What a fence does cannot be shown on one CPU thread; but an atomic tells other blocks of what was
// done before only behind one, so a missing one is seen.
extern "C" void cuda_cpu_fence();
static inline void __threadfence() { cuda_cpu_fence(); }
static inline void __threadfence_block() {}
