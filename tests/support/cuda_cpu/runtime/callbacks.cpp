// The functions that g++ makes instrumented code call, defined here in place of the sanitizers'
// own libraries: -fsanitize=thread reports every load and store, -fsanitize=undefined every
// operation that the language leaves undefined.
#include "runtime.h"

#define CALLER __builtin_return_address(0)

namespace {

inline void access(void* address, unsigned bytes, bool writes, void* caller) {
  if (cuda_cpu_checking) check_access((char*)address, bytes, writes, false, caller);
}

// What every handler of the undefined-behaviour sanitizer gets first.
struct Location {
  const char* file;
  unsigned line, column;
};

}  // namespace

extern "C" {

void cuda_cpu_atomic_access(const void* address, unsigned bytes, void* caller) {
  check_access((char*)address, bytes, true, true, caller);
}

#define LOADS_AND_STORES(n)                                                    \
  void __tsan_read##n(void* p) { access(p, n, false, CALLER); }                \
  void __tsan_write##n(void* p) { access(p, n, true, CALLER); }                \
  void __tsan_unaligned_read##n(void* p) { access(p, n, false, CALLER); }      \
  void __tsan_unaligned_write##n(void* p) { access(p, n, true, CALLER); }
LOADS_AND_STORES(1)
LOADS_AND_STORES(2)
LOADS_AND_STORES(4)
LOADS_AND_STORES(8)
LOADS_AND_STORES(16)
void __tsan_read_range(void* p, long n) { access(p, (unsigned)n, false, CALLER); }
void __tsan_write_range(void* p, long n) { access(p, (unsigned)n, true, CALLER); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

#define UNDEFINED(handler, what)                                               \
  void __ubsan_handle_##handler(Location* location, ...) {                     \
    fault(std::string("undefined behaviour: ") + what, location->line);        \
  }
UNDEFINED(add_overflow, "integer overflow in +")
UNDEFINED(sub_overflow, "integer overflow in -")
UNDEFINED(mul_overflow, "integer overflow in *")
UNDEFINED(negate_overflow, "integer overflow in negation")
UNDEFINED(divrem_overflow, "integer division by zero, or its overflow")
UNDEFINED(shift_out_of_bounds, "shift out of range")
UNDEFINED(out_of_bounds, "array index out of bounds")
UNDEFINED(type_mismatch_v1, "null or misaligned pointer")
UNDEFINED(pointer_overflow, "pointer overflow")
UNDEFINED(builtin_unreachable, "unreachable code reached")
UNDEFINED(missing_return, "no value returned")
UNDEFINED(vla_bound_not_positive, "array of no size")
UNDEFINED(load_invalid_value, "invalid bool or enum")
UNDEFINED(float_cast_overflow, "a float that its integer type cannot hold")
UNDEFINED(invalid_builtin, "clz or ctz of 0")
UNDEFINED(nonnull_arg, "null argument")
}
