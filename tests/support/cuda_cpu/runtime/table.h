// The table of a module's kernels: how to call each one with `void**`, and what its parameters
// are.  Both follow from the kernel's own C++ type, so a wrong description cannot pass.
#pragma once

struct KernelEntry {
  const char* name;
  void (*invoke)(void** arguments);
  void (*describe)(char* text);
};

// One parameter as text: `p` (pointer to const) or `P` (pointer), then f, i, u or b (bool), then
// the size of a number in bytes.  `const float*` is "pf4", `long long` is "i8".  A structure with
// one member `at[64]` is what its elements are, then "*64".
template <class T>
static char* cuda_cpu_describe_one(char* text) {
  using Number = std::remove_cv_t<std::remove_pointer_t<T>>;
  constexpr bool half = std::is_same_v<Number, Half>;
  static_assert(std::is_arithmetic_v<Number> || half,
                "kernels take numbers, pointers to them, and lists");
  if (std::is_pointer_v<T>) *text++ = std::is_const_v<std::remove_pointer_t<T>> ? 'p' : 'P';
  *text++ = std::is_floating_point_v<Number> || half ? 'f'
            : std::is_same_v<Number, bool>      ? 'b'
            : std::is_unsigned_v<Number>        ? 'u'
                                                : 'i';
  *text++ = (char)('0' + sizeof(Number));
  return text;
}

template <class T>
static char* cuda_cpu_describe(char* text) {
  if constexpr (std::is_class_v<T>) {
    using Items = decltype(T::at);
    static_assert(sizeof(T) == sizeof(Items) && std::extent_v<Items> == 64, "a list is T at[64]");
    text = cuda_cpu_describe_one<std::remove_extent_t<Items>>(text);
    *text++ = '*', *text++ = '6', *text++ = '4';
  } else {
    text = cuda_cpu_describe_one<T>(text);
  }
  *text++ = ' ';
  return text;
}

template <class... Parameters>
struct KernelType {
  template <void (*kernel)(Parameters...)>
  struct Bound {
    template <size_t... I>
    CUDA_CPU_UNCHECKED static void call(void** arguments, std::index_sequence<I...>) {
      kernel(*(std::remove_cv_t<Parameters>*)arguments[I]...);
    }
    static void invoke(void** arguments) {
      call(arguments, std::index_sequence_for<Parameters...>{});
    }
    static void describe(char* text) {
      ((text = cuda_cpu_describe<std::remove_cv_t<Parameters>>(text)), ...);
      *text = 0;
    }
  };
};
template <class... Parameters>
KernelType<Parameters...> cuda_cpu_type_of(void (*)(Parameters...));

#define CUDA_CPU_KERNEL(kernel)                                                          \
  {                                                                                      \
    #kernel, &decltype(cuda_cpu_type_of(&kernel))::template Bound<&kernel>::invoke,      \
        &decltype(cuda_cpu_type_of(&kernel))::template Bound<&kernel>::describe          \
  }
