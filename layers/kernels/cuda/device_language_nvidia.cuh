// The vocabulary of device_language.cuh on GPUs.
#pragma once

#include "core/bfloat16.hpp"

#include <cstddef>
#include <cstdint>

#define SLUICE_DEVICE __device__ __forceinline__
#define SLUICE_DEVICE_NAMESPACE nvidia
#define SLUICE_UNROLL _Pragma("unroll")
#define SLUICE_UNROLL_BY_4 _Pragma("unroll 4")

namespace sluice::kernels::nvidia {

/// What the compiler is at: 90 for sm_90, 0 for the host's side. Bits must not depend on it.
#ifdef __CUDA_ARCH__
inline constexpr int architecture = __CUDA_ARCH__ / 10;
#else
inline constexpr int architecture = 0;
#endif

SLUICE_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
SLUICE_DEVICE std::int64_t block_x() { return blockIdx.x; }
SLUICE_DEVICE std::int64_t block_y() { return blockIdx.y; }

template <class Shared>
SLUICE_DEVICE Shared& shared_memory()
{
    extern __shared__ __align__(128) unsigned char bytes[];
    return *reinterpret_cast<Shared*>(bytes);
}

SLUICE_DEVICE void barrier() { __syncthreads(); }

template <class T>
SLUICE_DEVICE T shuffle_xor(T value, int mask)
{
    return __shfl_xor_sync(0xffffffffU, value, mask);
}
template <class T>
SLUICE_DEVICE T shuffle(T value, int from_lane)
{
    return __shfl_sync(0xffffffffU, value, from_lane);
}
SLUICE_DEVICE unsigned ballot(bool vote) { return __ballot_sync(0xffffffffU, vote); }
SLUICE_DEVICE unsigned lanes_with_same(int value) { return __match_any_sync(0xffffffffU, value); }
SLUICE_DEVICE void warp_barrier() { __syncwarp(); }

SLUICE_DEVICE int count_bits(unsigned bits) { return __popc(bits); }
SLUICE_DEVICE int lowest_bit(unsigned bits) { return __ffs(static_cast<int>(bits)) - 1; }

SLUICE_DEVICE float to_float(float value) { return value; }
SLUICE_DEVICE float to_float(BFloat16 value)
{
    return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}
template <class T>
SLUICE_DEVICE T from_float(float value);
template <>
SLUICE_DEVICE float from_float<float>(float value)
{
    return value;
}
template <>
SLUICE_DEVICE BFloat16 from_float<BFloat16>(float value)
{
    BFloat16 rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded.bits) : "f"(value));
    return rounded;
}
/// `low` in the lower half, as the first of two neighbours in memory.
SLUICE_DEVICE std::uint32_t pack_bfloat16(float low, float high)
{
    std::uint32_t packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

SLUICE_DEVICE float exp2_fast(float value)
{
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(value));
    return result;
}

/// Nothing happens to it; but what was computed or loaded from it before is not kept in registers
/// to be used again after.
SLUICE_DEVICE void keep_only(std::uint32_t& word) { asm volatile("" : "+r"(word)); }
template <class T>
SLUICE_DEVICE void keep_only(const T*& pointer)
{
    asm volatile("" : "+l"(pointer));
}
SLUICE_DEVICE void keep_only(int& number) { asm volatile("" : "+r"(number)); }
SLUICE_DEVICE void keep_only(std::int64_t& number) { asm volatile("" : "+l"(number)); }
/// The same where registers would spill without; sm_90, where they do not, keeps the code that was
/// timed.
template <class T>
SLUICE_DEVICE void keep_only_off_sm_90(T& value)
{
    if constexpr (architecture != 90)
        keep_only(value);
}

template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
    T at[N];
};
template <int N, class T>
SLUICE_DEVICE Vector<T, N> load_vector(const T* from)
{
    return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <int N, class T>
SLUICE_DEVICE void store_vector(T* to, const Vector<T, N>& vector)
{
    *reinterpret_cast<Vector<T, N>*>(to) = vector;
}

SLUICE_DEVICE unsigned shared_address(const void* pointer)
{
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// One, two or four words to global memory. In PTX, for the compiler takes a vector apart where its
/// elements come from other instructions.
SLUICE_DEVICE void store_words(void* to, const std::uint32_t (&words)[1])
{
    asm volatile("st.global.b32 [%0], %1;" ::"l"(__cvta_generic_to_global(to)), "r"(words[0])
                 : "memory");
}
SLUICE_DEVICE void store_words(void* to, const std::uint32_t (&words)[2])
{
    asm volatile("st.global.v2.b32 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(words[0]), "r"(words[1])
                 : "memory");
}
SLUICE_DEVICE void store_words(void* to, const std::uint32_t (&words)[4])
{
    asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(__cvta_generic_to_global(to)),
                 "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3])
                 : "memory");
}

/// Sixteen bytes, both ends aligned to as many; zeros where not `wanted` (`from` is not read then).
SLUICE_DEVICE void copy_async_16(void* to_shared, const void* from, bool wanted)
{
    const int num_bytes = wanted ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(to_shared)), "l"(from), "r"(num_bytes)
                 : "memory");
}
/// The same for four bytes.
SLUICE_DEVICE void copy_async_4(void* to_shared, const void* from, bool wanted)
{
    const int num_bytes = wanted ? 4 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :
                 : "r"(shared_address(to_shared)), "l"(from), "r"(num_bytes)
                 : "memory");
}
SLUICE_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until all but the newest N groups of this thread's copies have arrived.
template <int N>
SLUICE_DEVICE void wait_for_copies()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

SLUICE_DEVICE void load_matrix_x4(std::uint32_t (&fragment)[4], const void* row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
}
SLUICE_DEVICE void load_matrix_x4_t(std::uint32_t (&fragment)[4], const void* row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
}
SLUICE_DEVICE void mma_16x8x16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                               std::uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

} // namespace sluice::kernels::nvidia
