// Where a thread is: threadIdx and its kin, and the block-wide barriers.
#pragma once

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
};

extern "C" {
// Set by the scheduler each time it resumes a thread.
extern uint3 cuda_cpu_thread_index, cuda_cpu_block_index;
extern dim3 cuda_cpu_block_size, cuda_cpu_grid_size;

enum BarrierKind { BARRIER_PLAIN, BARRIER_OR, BARRIER_AND, BARRIER_COUNT };
int cuda_cpu_barrier(int line, BarrierKind kind, int predicate);
void cuda_cpu_sleep(int line);
}

#define threadIdx cuda_cpu_thread_index
#define blockIdx cuda_cpu_block_index
#define blockDim cuda_cpu_block_size
#define gridDim cuda_cpu_grid_size
static const int warpSize = 32;

// Macros, because a barrier is told apart from another by the line it stands on.
#define __syncthreads() ((void)cuda_cpu_barrier(__LINE__, BARRIER_PLAIN, 0))
// Inside a loop that waits for another block: the others go on meanwhile.
#define __nanosleep(ns) cuda_cpu_sleep(__LINE__)
#define __syncthreads_or(p) cuda_cpu_barrier(__LINE__, BARRIER_OR, !!(p))
#define __syncthreads_and(p) cuda_cpu_barrier(__LINE__, BARRIER_AND, !!(p))
#define __syncthreads_count(p) cuda_cpu_barrier(__LINE__, BARRIER_COUNT, !!(p))
