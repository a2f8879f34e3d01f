// The vocabulary of layers/kernels/cuda/device_language.cuh on the CPU, on top of a BlockExecutor.
#pragma once

#include "core/bfloat16.hpp"
#include "core/error.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#define SLUICE_DEVICE inline
#define SLUICE_DEVICE_NAMESPACE emulated
#define SLUICE_UNROLL
#define SLUICE_UNROLL_BY_4

namespace sluice::kernels::emulated {

using testing::BlockExecutor;
using testing::EmulationError;

inline int thread() { return BlockExecutor::current().thread(); }
inline std::int64_t block_x() { return BlockExecutor::current().block().x; }
inline std::int64_t block_y() { return BlockExecutor::current().block().y; }

template <class Shared>
Shared& shared_memory()
{
    return *static_cast<Shared*>(BlockExecutor::current().shared_memory());
}

inline void barrier() { BlockExecutor::current().barrier(); }

template <class T>
struct Exchange {
    T value, result;
    int with;
};

template <class T>
T exchange(const char* name, T value, int with, bool exclusive_or)
{
    Exchange<T> own{value, value, with};
    if (exclusive_or)
        own.with = BlockExecutor::current().thread() % 32 ^ with;
    BlockExecutor::current().together(name, &own, [](void* const* lanes) {
        for (int lane = 0; lane < 32; ++lane) {
            auto& to = *static_cast<Exchange<T>*>(lanes[lane]);
            to.result = static_cast<const Exchange<T>*>(lanes[to.with])->value;
        }
    });
    return own.result;
}

template <class T>
T shuffle_xor(T value, int mask)
{
    return exchange("shuffle_xor", value, mask, true);
}
template <class T>
T shuffle(T value, int from_lane)
{
    return exchange("shuffle", value, from_lane, false);
}
inline unsigned ballot(bool vote)
{
    struct Ballot {
        bool vote;
        unsigned result;
    } own{vote, 0};
    BlockExecutor::current().together("ballot", &own, [](void* const* lanes) {
        unsigned votes = 0;
        for (int lane = 0; lane < 32; ++lane)
            votes |= static_cast<unsigned>(static_cast<Ballot*>(lanes[lane])->vote) << lane;
        for (int lane = 0; lane < 32; ++lane)
            static_cast<Ballot*>(lanes[lane])->result = votes;
    });
    return own.result;
}

inline unsigned lanes_with_same(int value)
{
    struct Same {
        int value;
        unsigned lanes;
    } own{value, 0};
    BlockExecutor::current().together("lanes_with_same", &own, [](void* const* lanes) {
        for (int lane = 0; lane < 32; ++lane) {
            auto& to = *static_cast<Same*>(lanes[lane]);
            for (int other = 0; other < 32; ++other)
                to.lanes |= unsigned{static_cast<Same*>(lanes[other])->value == to.value} << other;
        }
    });
    return own.lanes;
}
inline void warp_barrier() { BlockExecutor::current().warp_barrier(); }

inline int count_bits(unsigned bits) { return std::popcount(bits); }
inline int lowest_bit(unsigned bits) { return std::countr_zero(bits); }

inline float to_float(float value) { return value; }
inline float to_float(BFloat16 value) { return float_of(value); }
template <class T>
T from_float(float value);
template <>
inline float from_float<float>(float value)
{
    return value;
}
template <>
inline BFloat16 from_float<BFloat16>(float value)
{
    return bfloat16_of(value);
}
inline std::uint32_t pack_bfloat16(float low, float high)
{
    return bfloat16_of(low).bits | static_cast<std::uint32_t>(bfloat16_of(high).bits) << 16;
}

/// As wrong as the hardware may be: it errs by up to 2^-22 of the result.
inline float exp2_fast(float value)
{
    const float exact = std::exp2(value);
    return std::fabs(exact) < 0x1p-126F ? 0.0F : exact * (1.0F - 0x1p-22F);
}

template <class T>
void keep_only(T&)
{
}
template <class T>
void keep_only_off_sm_90(T&)
{
}

template <class T, int N>
struct Vector {
    T at[N];
};

template <class T, int N>
void check_alignment(const T* pointer)
{
    if (std::bit_cast<std::uintptr_t>(pointer) % (sizeof(T) * N) != 0)
        throw EmulationError("a vector of " + std::to_string(N) + " elements of " +
                             std::to_string(sizeof(T)) + " bytes is misaligned");
}
template <int N, class T>
Vector<T, N> load_vector(const T* from)
{
    check_alignment<T, N>(from);
    return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <int N, class T>
void store_vector(T* to, const Vector<T, N>& vector)
{
    check_alignment<T, N>(to);
    *reinterpret_cast<Vector<T, N>*>(to) = vector;
}

template <int N>
void store_words(void* to, const std::uint32_t (&words)[N])
{
    static_assert(N == 1 || N == 2 || N == 4);
    check_alignment<std::byte, 4 * N>(static_cast<const std::byte*>(to));
    std::memcpy(to, words, sizeof words);
}

template <int num_bytes>
void copy_async(void* to_shared, const void* from, bool wanted)
{
    check_alignment<std::byte, num_bytes>(static_cast<const std::byte*>(to_shared));
    check_alignment<std::byte, num_bytes>(static_cast<const std::byte*>(from));
    BlockExecutor::current().copy_later(to_shared, from, num_bytes, wanted);
}
inline void copy_async_16(void* to_shared, const void* from, bool wanted)
{
    copy_async<16>(to_shared, from, wanted);
}
inline void copy_async_4(void* to_shared, const void* from, bool wanted)
{
    copy_async<4>(to_shared, from, wanted);
}
inline void commit_copies() { BlockExecutor::current().commit_copies(); }
template <int N>
void wait_for_copies()
{
    BlockExecutor::current().wait_for_copies(N);
}

// PTX ISA, "Matrix fragments": what each lane holds of each operand.
void load_matrix_x4(std::uint32_t (&fragment)[4], const void* row);
void load_matrix_x4_t(std::uint32_t (&fragment)[4], const void* row);
void mma_16x8x16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);

} // namespace sluice::kernels::emulated
