// kernels/half.cuh for the CPU: the same members, the two conversions written out.
#pragma once

static inline float cuda_cpu_of_half(unsigned short bits) {
  const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, rest = bits & 0x7fff;
  uint32_t whole = rest << 13;
  if (rest >= 0x7c00) {
    whole |= 0x7f800000;  // infinite, or NaN
  } else if (rest >= 0x0400) {
    whole += 112u << 23;
  } else {
    const float small = (float)rest * 0x1p-24f;  // below the smallest normal number
    __builtin_memcpy(&whole, &small, 4);
  }
  whole |= sign;
  float x;
  __builtin_memcpy(&x, &whole, 4);
  return x;
}

// To nearest, ties to even.
static inline unsigned short cuda_cpu_to_half(float x) {
  uint32_t whole;
  __builtin_memcpy(&whole, &x, 4);
  const unsigned short sign = (unsigned short)(whole >> 16 & 0x8000);
  whole &= 0x7fffffff;
  if (whole > 0x7f800000) return sign | 0x7e00;   // NaN
  if (whole >= 0x477ff000) return sign | 0x7c00;  // 65520 and above
  if (whole < 0x38800000) return sign | (unsigned short)rintf(fabsf(x) * 0x1p24f);
  whole += 0x0fff + (whole >> 13 & 1);
  return sign | (unsigned short)((whole - (112u << 23)) >> 13);
}

struct Half {
  unsigned short bits;

  inline __attribute__((always_inline)) operator float() const { return cuda_cpu_of_half(bits); }
  inline __attribute__((always_inline)) Half& operator=(float x) {
    bits = cuda_cpu_to_half(x);
    return *this;
  }
  inline __attribute__((always_inline)) Half& operator+=(float x) {
    return *this = float(*this) + x;
  }
  inline __attribute__((always_inline)) Half& operator*=(float x) {
    return *this = float(*this) * x;
  }
};
