// What the parts of the run-time know of each other, and what Python calls.
#pragma once

#include <cstdint>
#include <string>

struct KernelEntry {
  const char* name;
  void (*invoke)(void** arguments);
  void (*describe)(char* text);
};

extern "C" {
struct Index3 {
  unsigned x, y, z;
};

// One array argument.  The same layouts stand in marshal.py.
enum BufferFlags : uint32_t { WRITABLE = 1, STARTS_UNINITIALISED = 2, MUST_BE_WRITTEN = 4 };
struct Buffer {
  char* base;
  uint64_t size;         // bytes
  uint32_t granularity;  // bytes that are tracked as one: the size of an element, at most 4
  uint32_t flags;
  const char* name;
};

// One __shared__ variable, as the object file's symbol table lists it.
struct SharedVariable {
  uint64_t offset;  // in the module's block of thread-local storage
  uint64_t size;
  const char* name;
};

struct Launch {
  int kernel;
  Index3 grid, block;
  void** arguments;
  const Buffer* buffers;
  int buffer_count;
  const SharedVariable* shared;
  int shared_count;
  uint64_t dynamic_shared;  // bytes
  int check;
  int order;  // of blocks and of threads: 0 ascending, 1 descending, 2 shuffled
  unsigned seed;
  uint64_t patience;  // accesses, or waits, after which a launch is taken not to end
  uint64_t last_blocks;  // only so many of the grid's last ones are run; 0: all
  uint64_t together;     // so many blocks are on the device at once, and may wait for each other
};

struct Outcome {
  char message[1024];
  uint64_t fault_offset;  // in the module's image, for addr2line; 0 where there is none
};

// Generated for each module.
extern const KernelEntry cuda_cpu_kernels[];  // ends with a null name
void* cuda_cpu_dynamic_shared();              // null where the kernels have none

extern int cuda_cpu_checking;
extern Index3 cuda_cpu_thread_index, cuda_cpu_block_index, cuda_cpu_block_size, cuda_cpu_grid_size;
}

// ---- scheduler.cpp ----

// Where the running thread stands in its block's order of events.
struct Moment {
  int thread;
  uint32_t block;
  uint32_t interval;       // block-wide barriers passed
  uint32_t warp_interval;  // __syncwarp of the whole warp passed
};
Moment now();
bool takes_fenced();  // whether the running thread has called a fence since it was last asked
char* current_stack(uint64_t* bytes);

// Record the first fault of a launch, and leave the running fiber for good.
[[noreturn]] void fault(const std::string& what, int line, void* pc = nullptr);

// ---- checker.cpp ----

void start_checking(const Launch& launch, char* thread_storage);
void run_together(uint32_t blocks);  // from now on blocks are ordered by atomics behind fences
void leave_shared(uint32_t block);   // what is known of a block's shared memory, for its next turn
void enter_shared(uint32_t block);
void check_access(char* address, unsigned bytes, bool writes, bool atomic, void* pc);
std::string unwritten_outputs();  // empty where all is written

struct Image {
  char *low, *high;  // the module's code and globals
  char* thread_storage;
  uint64_t thread_storage_size;
};
Image module_image();
