// Runs the threads of a block as fibers, and holds the barriers at which they wait.
//
// A fiber runs until it waits (at __syncthreads or a warp primitive) or returns; then the next
// thread of the launch's order is resumed.  Because the order is chosen (ascending, descending,
// shuffled), a kernel whose result depends on it is found out.
#include <csetjmp>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "runtime.h"

extern "C" {
Index3 cuda_cpu_thread_index, cuda_cpu_block_index, cuda_cpu_block_size, cuda_cpu_grid_size;
int cuda_cpu_checking = 0;
}

namespace {

constexpr size_t GUARD = 4096, STACK = 64 << 10;
constexpr size_t GUARDED = 1024;  // stacks with a guard of their own: enough for one block
constexpr unsigned FULL_WARP = 0xffffffffu;
constexpr int WARP_SYNC = 5;  // as in warp.h
enum BarrierKind { BARRIER_PLAIN, BARRIER_OR, BARRIER_AND, BARRIER_COUNT };  // as in index.h

enum class State : uint8_t { FRESH, READY, ASLEEP, AT_BARRIER, AT_WARP, DONE };

struct Thread {
  State state = State::FRESH;
  int fiber = -1;
  int line = 0;  // of the barrier or primitive it waits at
  int vote = 0;  // the outcome of the barrier it has just left
  uint32_t warp_interval = 0;
  bool fenced = false;
};

struct Fiber {
  char* memory;  // a guard page, then the stack
  bool started;
  ucontext_t context;  // to start it
  jmp_buf resume;      // to go on
  char* stack() const { return memory + GUARD; }
};

// Lanes that meet at warp primitives of one mask.  Two sets of slots, because a lane may come to
// the next meeting while another has yet to read the values of this one.
struct Meeting {
  unsigned arrived = 0;
  int kind = 0;
  int parity = 0;
  uint64_t slots[2][32];
};

struct Warp {
  unsigned live = 0;
  std::map<unsigned, Meeting> meetings;  // by mask
};

struct Barrier {
  int arrived = 0, line = 0;
  BarrierKind kind = BARRIER_PLAIN;
  int any = 0, all = 1, count = 0;
};

std::vector<Thread> threads;
std::vector<Warp> warps;
std::vector<Fiber> fibers;
std::vector<int> idle_fibers;
Barrier barrier;
int live, current, current_fiber;
uint32_t interval, block_number;
uint64_t waits, patience;
bool together;

void (*invoke)(void**);
void** arguments;
jmp_buf back_to_scheduler;
bool failed;
Outcome* outcome;
char* image_base;

int thread_count() { return (int)threads.size(); }

// ---- fibers: started with setcontext, switched with longjmp, which makes no system call ----

void suspend() {
  if (++waits > patience) fault("a launch that does not seem to end", threads[current].line);
  if (!_setjmp(fibers[current_fiber].resume)) _longjmp(back_to_scheduler, 1);
}

void fiber_main() {
  for (;;) {
    invoke(arguments);
    Thread& t = threads[current];
    t.state = State::DONE;
    t.fiber = -1;
    live--;
    warps[current / 32].live &= ~(1u << current % 32);
    idle_fibers.push_back(current_fiber);
    suspend();  // another thread may go on with this fiber, from the top
  }
}

int idle_fiber() {
  if (idle_fibers.empty()) {
    // Each stack has a guard page, which makes two mappings of it; of very many, many share one.
    const int count = fibers.size() < GUARDED ? 1 : 256;
    char* memory = (char*)mmap(nullptr, GUARD + count * STACK, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, GUARD, PROT_NONE)) abort();
    for (int i = 0; i < count; ++i) {
      Fiber f{};
      f.memory = memory + i * STACK;
      fibers.push_back(f);
      idle_fibers.push_back((int)fibers.size() - 1);
    }
  }
  const int f = idle_fibers.back();
  idle_fibers.pop_back();
  return f;
}

void resume(int t) {
  if (threads[t].fiber < 0) threads[t].fiber = idle_fiber();
  current = t;
  current_fiber = threads[t].fiber;
  threads[t].state = State::READY;
  const unsigned x = cuda_cpu_block_size.x, y = cuda_cpu_block_size.y;
  cuda_cpu_thread_index = {t % x, t / x % y, t / (x * y)};

  Fiber& f = fibers[current_fiber];
  if (_setjmp(back_to_scheduler)) return;  // the fiber has suspended itself
  if (f.started) _longjmp(f.resume, 1);
  f.started = true;
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack();
  f.context.uc_stack.ss_size = STACK;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
  setcontext(&f.context);
}

// Fibers that a fault left half-way cannot be used again.
void discard_fibers() {
  for (Fiber& f : fibers) munmap(f.memory, GUARD + STACK);
  fibers.clear();
  idle_fibers.clear();
}

void report(const std::string& what, int line, void* pc) {
  if (failed) return;
  failed = true;
  const Index3 &b = cuda_cpu_block_index, &t = cuda_cpu_thread_index;
  char at[128];
  snprintf(at, sizeof at, " [block (%u,%u,%u) thread (%u,%u,%u)%s%s]", b.x, b.y, b.z, t.x, t.y,
           t.z, line ? ", line " : "", line ? std::to_string(line).c_str() : "");
  snprintf(outcome->message, sizeof outcome->message, "%s%s", what.c_str(), at);
  outcome->fault_offset = pc ? (uint64_t)((char*)pc - image_base) : 0;
}

void report_deadlock() {
  std::string what = "barrier divergence or deadlock:";
  int shown = 0;
  for (int t = 0; t < thread_count() && shown < 4; t++) {
    const State s = threads[t].state;
    if (s != State::AT_BARRIER && s != State::AT_WARP) continue;
    what += " thread " + std::to_string(t) + " waits at " +
            (s == State::AT_BARRIER ? "__syncthreads" : "a warp primitive") + ", line " +
            std::to_string(threads[t].line) + ";";
    shown++;
  }
  what += " " + std::to_string(thread_count() - live) + " of " + std::to_string(thread_count()) +
          " threads have returned";
  report(what, 0, nullptr);
}

void begin_block() {
  std::fill(threads.begin(), threads.end(), Thread{});
  for (size_t w = 0; w < warps.size(); w++) {
    const int lanes = std::min(32, thread_count() - 32 * (int)w);
    warps[w].live = lanes == 32 ? FULL_WARP : (1u << lanes) - 1;
    warps[w].meetings.clear();
  }
  live = thread_count();
  barrier = Barrier{};
  interval = 0;
}

void run_block(const std::vector<int>& order) {
  begin_block();
  while (live) {
    bool moved = false;
    for (int t : order) {
      if (threads[t].state > State::READY) continue;
      moved = true;
      resume(t);
      if (failed) return;
    }
    if (!moved) return report_deadlock();
  }
}

// ---- blocks that are on the device together, and may wait for each other ----

// What a block has of its own, while another has its turn.
struct Resident {
  uint32_t number = 0;
  Index3 index{};
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barrier;
  int live = 0;
  uint32_t interval = 0;
  std::vector<int> order;
  std::vector<char> shared;
};

// What the launch uses of a variable.
uint64_t bytes_of(const SharedVariable& v, const Launch& launch, const Image& image) {
  const bool dynamic = image.thread_storage + v.offset == (char*)cuda_cpu_dynamic_shared();
  return dynamic ? launch.dynamic_shared : v.size;
}

void change_places(Resident& b, const Launch& launch, const Image& image) {
  std::swap(threads, b.threads);
  std::swap(warps, b.warps);
  std::swap(barrier, b.barrier);
  std::swap(live, b.live);
  std::swap(interval, b.interval);
  char* own = b.shared.data();
  for (int i = 0; i < launch.shared_count; i++) {
    const SharedVariable& v = launch.shared[i];
    const uint64_t bytes = bytes_of(v, launch, image);
    std::swap_ranges(own, own + bytes, image.thread_storage + v.offset);
    own += bytes;
  }
}

// Every thread goes on until it waits, sleeps or returns; whether one of them did something.
bool take_turn(const std::vector<int>& order) {
  for (Thread& t : threads)
    if (t.state == State::ASLEEP) t.state = State::READY;
  bool done_something = false, moved = true, asleep = false;
  while (moved) {
    moved = false;
    for (int t : order) {
      if (threads[t].state > State::READY) continue;
      moved = true;
      resume(t);
      if (failed) return true;
      if (threads[t].state != State::ASLEEP) done_something = true;
    }
  }
  for (Thread& t : threads) asleep |= t.state == State::ASLEEP;
  if (live && !asleep) report_deadlock();
  return done_something;
}

void report_waiting(size_t resident, size_t left) {
  report("deadlock: all threads of the " + std::to_string(resident) +
             " blocks on the device wait for another block, and " + std::to_string(left) +
             " blocks of the grid have no place on it",
         0, nullptr);
}

template <class T>
void arrange(std::vector<T>& items, int order, std::mt19937& random) {
  for (size_t i = 0; i < items.size(); i++) items[i] = order == 1 ? items.size() - 1 - i : i;
  if (order == 2) std::shuffle(items.begin(), items.end(), random);
}

}  // namespace

Moment now() { return {current, block_number, interval, threads[current].warp_interval}; }

char* current_stack(uint64_t* bytes) {
  *bytes = STACK;
  return fibers[current_fiber].stack();
}

bool takes_fenced() {
  const bool fenced = threads[current].fenced;
  threads[current].fenced = false;
  return fenced;
}

void fault(const std::string& what, int line, void* pc) {
  report(what, line, pc);
  _longjmp(back_to_scheduler, 1);
}

extern "C" {

int cuda_cpu_barrier(int line, BarrierKind kind, int predicate) {
  if (barrier.arrived == 0) {
    barrier = Barrier{};
    barrier.line = line;
    barrier.kind = kind;
  } else if (line != barrier.line) {
    fault("barrier divergence: __syncthreads at line " + std::to_string(line) +
              " while other threads wait at line " + std::to_string(barrier.line),
          line);
  }
  barrier.any |= predicate;
  barrier.all &= predicate;
  barrier.count += predicate;
  threads[current].line = line;
  threads[current].state = State::AT_BARRIER;
  // Strict: a thread that has returned never arrives, so all who are left wait for ever.
  if (++barrier.arrived == thread_count()) {
    const int vote = kind == BARRIER_OR ? barrier.any : kind == BARRIER_AND ? barrier.all
                                                                            : barrier.count;
    barrier.arrived = 0;
    interval++;
    for (Thread& t : threads)
      if (t.state == State::AT_BARRIER) {
        t.state = State::READY;
        t.vote = vote;  // its own copy: others may reach the next barrier before it goes on
      }
  }
  suspend();  // the last to arrive too, so that the order stays the launch's
  return threads[current].vote;
}

const uint64_t* cuda_cpu_meet(unsigned mask, uint64_t value, int kind, int line) {
  Warp& warp = warps[current / 32];
  const int lane = current % 32;
  if (!(mask >> lane & 1)) fault("warp primitive: the calling lane is not in its own mask", line);
  if (mask & ~warp.live)
    fault("warp primitive: the mask names lanes that do not exist or have returned", line);

  Meeting& meeting = warp.meetings[mask];
  if (!meeting.arrived)
    meeting.kind = kind;
  else if (meeting.kind != kind)
    fault("warp primitive: lanes of one mask meet at different primitives", line);
  uint64_t* slots = meeting.slots[meeting.parity];
  slots[lane] = value;
  meeting.arrived |= 1u << lane;
  threads[current].line = line;
  threads[current].state = State::AT_WARP;
  if (meeting.arrived == mask) {
    meeting.arrived = 0;
    meeting.parity ^= 1;
    // Shuffles and votes do not order memory; __syncwarp does.
    const bool orders_memory = kind == WARP_SYNC && mask == warp.live;
    for (int l = 0; l < 32; l++)
      if (mask >> l & 1) {
        Thread& t = threads[current / 32 * 32 + l];
        t.state = State::READY;
        t.warp_interval += orders_memory;
      }
  }
  suspend();
  return slots;
}

unsigned cuda_cpu_lane() { return current % 32; }
unsigned cuda_cpu_active_mask() { return warps[current / 32].live; }
void cuda_cpu_fault(const char* what, int line) { fault(what, line); }

void cuda_cpu_fence() { threads[current].fenced = true; }

void cuda_cpu_sleep(int line) {
  if (!together)
    fault("a loop that waits for another block, in a kernel not described as `together`", line);
  threads[current].line = line;
  threads[current].state = State::ASLEEP;
  suspend();
}

// The number of the kernel called `name`, and its parameters as text; -1 where there is none.
int cuda_cpu_find(const char* name, char* parameters) {
  for (int i = 0; cuda_cpu_kernels[i].name; i++)
    if (!strcmp(cuda_cpu_kernels[i].name, name)) {
      cuda_cpu_kernels[i].describe(parameters);
      return i;
    }
  return -1;
}

// 0 where every thread has returned without a fault.
int cuda_cpu_launch(const Launch* launch, Outcome* result) {
  const Index3 grid = cuda_cpu_grid_size = launch->grid;
  const Index3 block = cuda_cpu_block_size = launch->block;
  const uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
  const int count = (int)(block.x * block.y * block.z);
  threads.assign(count, Thread{});
  warps.assign((count + 31) / 32, Warp{});
  together = launch->together;
  fibers.reserve(1024 * std::max<uint64_t>(1, launch->together));  // resume() keeps a reference
  invoke = cuda_cpu_kernels[launch->kernel].invoke;
  arguments = launch->arguments;
  outcome = result;
  failed = false;
  waits = 0;
  patience = launch->patience;

  const Image image = module_image();
  image_base = image.low;
  if (launch->check) start_checking(*launch, image.thread_storage);

  std::mt19937 random(launch->seed);
  std::vector<int> thread_order(count);
  const uint64_t skipped = launch->last_blocks && launch->last_blocks < blocks
                               ? blocks - launch->last_blocks : 0;
  std::vector<uint64_t> block_order(blocks - skipped);
  arrange(block_order, launch->order, random);
  if (together && launch->check) run_together((uint32_t)blocks);
  cuda_cpu_checking = launch->check;
  const auto index_of = [&](uint64_t b) {
    return Index3{(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y),
                  (unsigned)(b / grid.x / grid.y)};
  };
  // Shared memory starts as garbage would: all ones, a NaN as a float and -1 as an integer.
  const size_t storage = image.thread_storage ? image.thread_storage_size : 0;
  uint64_t of_block = 0;
  for (int i = 0; i < launch->shared_count; i++)
    of_block += bytes_of(launch->shared[i], *launch, image);
  std::vector<Resident> on_device;
  size_t next = 0;
  int quiet = 0;  // rounds in which no thread did anything but sleep
  while (together && !failed && (next < block_order.size() || !on_device.empty())) {
    while (on_device.size() < launch->together && next < block_order.size()) {
      Resident b;
      b.number = (uint32_t)(block_order[next++] + skipped);
      b.index = index_of(b.number);
      b.shared.assign(of_block, (char)0xff);
      b.order.resize(count);
      arrange(b.order, launch->order, random);
      begin_block();
      b.threads = threads, b.warps = warps, b.live = live;
      on_device.push_back(std::move(b));
    }
    bool done_something = false;
    for (Resident& b : on_device) {
      block_number = b.number;
      cuda_cpu_block_index = b.index;
      change_places(b, *launch, image);
      if (launch->check) enter_shared(b.number);
      done_something |= take_turn(b.order);
      if (launch->check) leave_shared(b.number);
      change_places(b, *launch, image);
      if (failed) break;
    }
    const size_t before = on_device.size();
    on_device.erase(std::remove_if(on_device.begin(), on_device.end(),
                                   [](const Resident& b) { return !b.live; }),
                    on_device.end());
    quiet = done_something || on_device.size() < before ? 0 : quiet + 1;
    if (quiet > 3) report_waiting(on_device.size(), block_order.size() - next);
  }
  for (uint64_t b : block_order) {
    if (together || failed) break;
    b += skipped;
    block_number = (uint32_t)b;
    cuda_cpu_block_index = index_of(b);
    if (storage) memset(image.thread_storage, 0xff, storage);
    arrange(thread_order, launch->order, random);
    run_block(thread_order);
  }
  cuda_cpu_checking = 0;
  // Many stacks are many mappings, of which a process may have 65,530, and every module has its own.
  if (failed || together) discard_fibers();
  if (!failed && launch->check && !launch->last_blocks) {
    const std::string missing = unwritten_outputs();
    if (!missing.empty()) {
      failed = true;
      snprintf(outcome->message, sizeof outcome->message, "%s", missing.c_str());
    }
  }
  return failed;
}
}
