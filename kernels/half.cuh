// A number of 16 bits in memory (IEEE binary16), with which is computed in float.
//
// This text stands before a source that is compiled with STORE = Half.  The two instructions are
// those of cuda_fp16.h, which a machine with NVIDIA's driver and CuPy need not have.  Rounding is to
// nearest, ties to even; what is 65520 or more becomes infinite.

struct Half {
    unsigned short bits;

    __device__ __forceinline__ operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }

    __device__ __forceinline__ Half& operator=(float x) {
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
        return *this;
    }

    __device__ __forceinline__ Half& operator+=(float x) { return *this = float(*this) + x; }
    __device__ __forceinline__ Half& operator*=(float x) { return *this = float(*this) * x; }
};
