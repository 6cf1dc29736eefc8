// The memory and race checker.
//
// Every byte (or small group of bytes) that a kernel may touch has a cell that remembers who wrote
// it last and who has read it since.  An access is a fault if it
//   - lies in no argument, no __shared__ variable, not on the thread's stack, not in the image,
//   - writes through a pointer to const, or is not aligned to its size,
//   - reads what nobody has written (`out` arguments and shared memory start that way), or
//   - meets an access of another thread, at least one of the two a plain write, that no barrier
//     lies between.  Nothing orders two blocks; but in a launch whose blocks run together an atomic
//     behind a fence tells what its block has done before its last barrier, and whoever meets the
//     same place with an atomic knows it from then on.
// It is found before the access happens, so a bad store does no harm.
#include <link.h>

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime.h"

namespace {

constexpr int NOBODY = -1;
constexpr uint64_t MANY = 1 << 22;  // cells

struct Cell {
  Moment write{NOBODY, 0, 0, 0};
  Moment read{NOBODY, 0, 0, 0}, other_read{NOBODY, 0, 0, 0};  // two readers since the last barrier
  int64_t reading_block = NOBODY, other_reading_block = NOBODY;
  uint32_t reading_interval = 0, other_reading_interval = 0;  // of those blocks
  uint32_t stamp = 0;  // the block this cell of shared memory belongs to
  bool written = false, atomic = false;
};

struct Region {
  char* base;
  uint64_t size;
  unsigned shift;  // a cell covers 1 << shift bytes
  uint32_t flags;
  bool shared;
  std::string name;
  std::vector<Cell> cells;  // or, of a buffer too large to have them all, those that were touched
  std::unordered_map<uint64_t, Cell> touched;

  Cell& cell(uint64_t i) { return cells.empty() ? touched[i] : cells[i]; }
  bool holds(const char* p) const { return p >= base && p < base + size; }
};

std::vector<Region> regions;
Image image;
uint64_t accesses, patience;

// Of blocks that run together.  A block has seen what another did in the intervals below this.
using Intervals = std::vector<uint32_t>;
std::vector<Intervals> known;
std::unordered_map<const char*, Intervals> told;  // by the places of atomics
std::unordered_map<uint32_t, std::vector<std::vector<Cell>>> shared_cells;

bool has_seen(uint32_t me, int64_t block, uint32_t interval) {
  return !known.empty() && interval < known[me][block];
}

void meet(const char* place, const Moment& me) {
  Intervals& there = told.try_emplace(place, Intervals(known.size(), 0)).first->second;
  Intervals& mine = known[me.block];
  if (takes_fenced()) {
    mine[me.block] = me.interval;
    for (size_t b = 0; b < mine.size(); b++) there[b] = std::max(there[b], mine[b]);
  }
  for (size_t b = 0; b < mine.size(); b++) mine[b] = std::max(mine[b], there[b]);
}

Region make_region(char* base, uint64_t size, unsigned granularity, uint32_t flags, bool shared,
                   const std::string& name) {
  unsigned shift = 0;
  while ((2u << shift) <= granularity) shift++;
  const uint64_t cells = (size >> shift) + 1;
  return {base, size, shift, flags, shared, name, std::vector<Cell>(cells > MANY ? 0 : cells), {}};
}

// Regions are sorted by address; only inputs may overlap, so the first one found will do.
Region* region_of(const char* p) {
  auto after = std::upper_bound(regions.begin(), regions.end(), p,
                                [](const char* q, const Region& r) { return q < r.base; });
  while (after != regions.begin())
    if ((--after)->holds(p)) return &*after;
  return nullptr;
}

std::string place(const Region& r, const char* p, unsigned bytes) {
  return (r.shared ? "shared memory " : "argument ") + r.name + ", byte " +
         std::to_string((long)(p - r.base)) + " (" + std::to_string(bytes) + " bytes; it has " +
         std::to_string(r.size) + ")";
}

std::string who(const Moment& m) {
  return "thread " + std::to_string(m.thread) + " of block " + std::to_string(m.block);
}

// Has `earlier`, an access of the same block, surely happened before the present one?
bool happened_before(const Moment& earlier, const Moment& present) {
  if (earlier.thread == present.thread || earlier.interval != present.interval) return true;
  const bool same_warp = earlier.thread / 32 == present.thread / 32;
  return same_warp && earlier.warp_interval != present.warp_interval;
}

void check_bounds(const Region* hit, const char* p, unsigned bytes, bool writes, void* pc) {
  const std::string what = writes ? "out-of-bounds write" : "out-of-bounds read";
  if (hit) {
    if (p + bytes > hit->base + hit->size)
      fault(what + " over the end of " + place(*hit, p, bytes), 0, pc);
    return;
  }
  if ((uintptr_t)p < 1 << 20) fault(what + " through a null pointer", 0, pc);
  const Region* nearest = nullptr;
  long best = 1l << 40;
  for (const Region& r : regions) {
    const long distance = p < r.base ? r.base - p : p - (r.base + r.size);
    if (distance < best) best = distance, nearest = &r;
  }
  fault(what + (nearest ? ", nearest " + place(*nearest, p, bytes) : " far from every argument"),
        0, pc);
}

void check_cell(const Region& r, Cell& cell, const Moment& me, bool writes, bool atomic,
                const char* p, unsigned bytes, void* pc) {
  if (r.shared && cell.stamp != me.block + 1) {  // left by an earlier block, or untouched
    cell = Cell{};
    cell.stamp = me.block + 1;
  }
  const bool two_atomics = atomic && cell.atomic;
  if (cell.write.thread != NOBODY && !two_atomics &&
      (cell.write.block != me.block
           ? !has_seen(me.block, cell.write.block, cell.write.interval)
           : !happened_before(cell.write, me)))
    fault(std::string(writes ? "write-write" : "write-read") + " race with " + who(cell.write) +
              " on " + place(r, p, bytes),
          0, pc);
  if ((!writes || atomic) && !cell.written && (r.flags & STARTS_UNINITIALISED))
    fault("read of uninitialised " + place(r, p, bytes), 0, pc);

  if (!writes) {
    const bool fresh = cell.read.thread != NOBODY && cell.read.block == me.block &&
                       cell.read.interval == me.interval;
    if (!fresh) {
      cell.read = me;
      cell.other_read.thread = NOBODY;
    } else if (cell.read.thread != me.thread) {
      cell.other_read = me;
    } else {
      cell.read = me;  // the same thread again, perhaps after a __syncwarp
    }
    if (cell.reading_block == NOBODY || cell.reading_block == me.block) {
      cell.reading_block = me.block;
      cell.reading_interval = me.interval;
    } else {
      cell.other_reading_block = me.block;
      cell.other_reading_interval = me.interval;
    }
    return;
  }
  for (const Moment* reader : {&cell.read, &cell.other_read})
    if (reader->thread != NOBODY && reader->block == me.block && !happened_before(*reader, me))
      fault("read-write race with " + who(*reader) + " on " + place(r, p, bytes), 0, pc);
  if (!r.shared)
    for (auto [block, at] : {std::pair(cell.reading_block, cell.reading_interval),
                             std::pair(cell.other_reading_block, cell.other_reading_interval)})
      if (block != NOBODY && block != me.block && !has_seen(me.block, block, at))
        fault("read-write race with block " + std::to_string(block) + " on " + place(r, p, bytes),
              0, pc);
  cell.write = me;
  cell.atomic = atomic;
  cell.written = true;
}

int find_image(dl_phdr_info* info, size_t, void*) {
  char* const base = (char*)info->dlpi_addr;
  const char* const inside = (const char*)&cuda_cpu_kernels;
  char *low = (char*)~0ul, *high = nullptr;
  bool mine = false;
  for (int k = 0; k < info->dlpi_phnum; k++) {
    const auto& segment = info->dlpi_phdr[k];
    if (segment.p_type != PT_LOAD) continue;
    char *first = base + segment.p_vaddr, *last = first + segment.p_memsz;
    low = std::min(low, first), high = std::max(high, last);
    mine |= inside >= first && inside < last;
  }
  if (!mine) return 0;
  image = {low, high, nullptr, 0};
  for (int k = 0; k < info->dlpi_phnum; k++)
    if (info->dlpi_phdr[k].p_type == PT_TLS && info->dlpi_tls_data) {
      image.thread_storage = (char*)info->dlpi_tls_data;
      image.thread_storage_size = info->dlpi_phdr[k].p_memsz;
    }
  return 1;
}

}  // namespace

Image module_image() {
  cuda_cpu_dynamic_shared();  // the loader gives this module its thread-local block on first use
  dl_iterate_phdr(find_image, nullptr);
  return image;
}

void start_checking(const Launch& launch, char* thread_storage) {
  regions.clear();
  known.clear();
  told.clear();
  shared_cells.clear();
  accesses = 0;
  patience = launch.patience;
  const char* dynamic = (const char*)cuda_cpu_dynamic_shared();
  for (int i = 0; i < launch.shared_count; i++) {
    const SharedVariable& v = launch.shared[i];
    char* base = thread_storage + v.offset;
    const uint64_t size = base == dynamic ? launch.dynamic_shared : v.size;
    regions.push_back(make_region(base, size, 1, WRITABLE | STARTS_UNINITIALISED, true, v.name));
  }
  for (int i = 0; i < launch.buffer_count; i++) {
    const Buffer& b = launch.buffers[i];
    if (b.base)
      regions.push_back(make_region(b.base, b.size, b.granularity, b.flags, false, b.name));
  }
  std::sort(regions.begin(), regions.end(),
            [](const Region& a, const Region& b) { return a.base < b.base; });
}

void run_together(uint32_t blocks) { known.assign(blocks, Intervals(blocks, 0)); }

void leave_shared(uint32_t block) {
  std::vector<std::vector<Cell>>& kept = shared_cells[block];
  kept.clear();
  for (Region& r : regions)
    if (r.shared) kept.push_back(std::move(r.cells));
}

void enter_shared(uint32_t block) {
  auto kept = shared_cells.find(block);
  size_t k = 0;
  for (Region& r : regions)
    if (r.shared && kept == shared_cells.end())  // its first turn
      r.cells.assign((r.size >> r.shift) + 1, Cell{});
    else if (r.shared)
      r.cells = std::move(kept->second[k++]);
}

void check_access(char* p, unsigned bytes, bool writes, bool atomic, void* pc) {
  if (++accesses > patience) fault("a launch that does not seem to end", 0, pc);
  uint64_t stack_bytes;
  char* stack = current_stack(&stack_bytes);
  if (p >= stack && p + bytes <= stack + stack_bytes) return;
  if (p >= image.low && p + bytes <= image.high) return;
  Region* hit = region_of(p);
  check_bounds(hit, p, bytes, writes, pc);
  if (writes && !(hit->flags & WRITABLE))
    fault("write to a const argument: " + place(*hit, p, bytes), 0, pc);
  const bool power_of_two = (bytes & (bytes - 1)) == 0;
  if (bytes <= 16 && power_of_two && (uintptr_t)p % bytes)
    fault("misaligned access: " + place(*hit, p, bytes), 0, pc);

  const Moment me = now();
  const uint64_t first = (p - hit->base) >> hit->shift;
  const uint64_t last = (p + bytes - 1 - hit->base) >> hit->shift;
  for (uint64_t i = first; i <= last; i++)
    check_cell(*hit, hit->cell(i), me, writes, atomic, p, bytes, pc);
  if (atomic && !known.empty()) meet(p, me);
}

std::string unwritten_outputs() {
  for (const Region& r : regions) {
    if (!(r.flags & MUST_BE_WRITTEN)) continue;
    const uint64_t cells = r.size >> r.shift;
    uint64_t missing = 0, first = 0;
    for (uint64_t i = cells; i-- > 0;)
      if (!r.cells[i].written) missing++, first = i;
    if (missing)
      return "output " + r.name + " is not fully written: " +
             std::to_string(missing << r.shift) + " of its " + std::to_string(r.size) +
             " bytes, the first at byte " + std::to_string(first << r.shift);
  }
  return "";
}
