// What kernel bodies are written in. The same source is compiled twice: by nvcc for GPUs, with the
// vocabulary of device_language_nvidia.cuh; and by the host's compiler for the tests, with that of
// tests/layers/kernels/cuda/device_language_emulated.hpp, which is included first there.
//
// A kernel is a struct with its arguments as members, `static constexpr int num_threads` (of a
// block, a multiple of 32) and a call operator, SLUICE_DEVICE, that one thread runs. Beside it in
// the same header stands `launch_NAME(launcher, op)`, which cuts the work into blocks:
// `launcher(kernel, Grid{...}, shared_bytes)`. So grids and tails are tested with the bodies.
//
//   thread(), block_x(), block_y()      where this thread is
//   shared_memory<Shared>()             the block's shared memory, not initialised
//   barrier()                           of the block
//   shuffle_xor, shuffle, ballot        of the whole warp
//   lanes_with_same(value)              the lanes of the warp that said the same
//   warp_barrier()                      of the whole warp: orders its shared memory
//   mma_16x8x16, load_matrix_x4(_t)     tensor core and its operands
//   copy_async_16, copy_async_4, commit_copies, wait_for_copies<N>
//                                       global to shared memory, beside other work
//   load_vector<N>, store_vector<N>, store_words     N neighbours at once, aligned to all of them
//   keep_only(value)                    that, and nothing computed from it, in registers
//   keep_only_off_sm_90(value)          the same, except on the architecture kernels are timed on
//   to_float, from_float<T>, exp2_fast  conversions; a good approximation of 2^x
#pragma once

#include "core/bfloat16.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <type_traits>

#ifdef __CUDACC__
#include "layers/kernels/cuda/device_language_nvidia.cuh"
#elif !defined(SLUICE_DEVICE)
#error "include tests/layers/kernels/cuda/device_language_emulated.hpp before kernels"
#endif

namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE {

inline constexpr int warp_size = 32;
/// Of shared memory: what a block can have on every GPU that kernels are compiled for (sm_120; CUDA
/// C++ Programming Guide, "Technical Specifications per Compute Capability").
inline constexpr std::size_t most_shared_bytes = 99 << 10;
inline constexpr float log2_of_e = std::numbers::log2e_v<float>;

/// Blocks in x (up to 2^31 - 1) and y (up to 65535).
struct Grid {
    std::int64_t x;
    std::int64_t y = 1;
};

SLUICE_DEVICE int lane() { return thread() % warp_size; }
SLUICE_DEVICE int warp() { return thread() / warp_size; }

/// The same on every lane, and the same bits for any compiler: a butterfly.
template <class T>
SLUICE_DEVICE T warp_sum(T value)
{
    for (int mask = warp_size / 2; mask > 0; mask /= 2)
        value += shuffle_xor(value, mask);
    return value;
}

/// N floats of T's memory.
template <int N>
struct Floats {
    float at[N];
    SLUICE_DEVICE float& operator[](int i) { return at[i]; }
    SLUICE_DEVICE float operator[](int i) const { return at[i]; }
};

/// As they come back from memory. Two at once: one by one is a slower instruction on GPUs.
SLUICE_DEVICE Floats<2> rounded_to_bfloat16(float first, float second)
{
    const std::uint32_t pair = pack_bfloat16(first, second);
    return {to_float(BFloat16{static_cast<std::uint16_t>(pair)}),
            to_float(BFloat16{static_cast<std::uint16_t>(pair >> 16)})};
}

/// The first `count` (1 to N) of N elements from `from`, zero behind them. `aligned` says that all
/// N lie on a multiple of their size; the values do not depend on it.
template <int N, class T>
SLUICE_DEVICE Floats<N> load_floats(const T* from, std::int64_t count, bool aligned)
{
    Floats<N> floats;
    if (aligned && count >= N) {
        const Vector<T, N> vector = load_vector<N>(from);
        for (int i = 0; i < N; ++i)
            floats[i] = to_float(vector.at[i]);
    } else {
        for (int i = 0; i < N; ++i)
            floats[i] = i < count ? to_float(from[i]) : 0.0F;
    }
    return floats;
}

/// All N at once, aligned to all of them. Pairs of bfloat16 are put together here: left to itself,
/// the compiler stores them one by one.
template <int N, class T>
SLUICE_DEVICE void store_whole(T* to, const Floats<N>& floats)
{
    if constexpr (std::is_same_v<T, BFloat16> && N % 2 == 0) {
        std::uint32_t pairs[N / 2];
        for (int i = 0; i < N / 2; ++i)
            pairs[i] = pack_bfloat16(floats[2 * i], floats[2 * i + 1]);
        store_words(to, pairs);
    } else {
        Vector<T, N> vector;
        for (int i = 0; i < N; ++i)
            vector.at[i] = from_float<T>(floats[i]);
        store_vector<N>(to, vector);
    }
}

/// All N in one access where `vectors` (they are aligned, and there), else the first `count`.
template <bool vectors, int N, class T>
SLUICE_DEVICE void store_elements(T* to, const Floats<N>& floats, std::int64_t count)
{
    if constexpr (vectors) {
        store_whole(to, floats);
    } else {
        for (int i = 0; i < N; ++i)
            if (i < count)
                to[i] = from_float<T>(floats[i]);
    }
}

template <int N, class T>
SLUICE_DEVICE void store_floats(T* to, const Floats<N>& floats, std::int64_t count, bool aligned)
{
    if (aligned && count >= N)
        store_elements<true>(to, floats, count);
    else
        store_elements<false>(to, floats, count);
}

/// As load_floats without a branch, so that several can be on their way: all N in one access where
/// `vectors`, else the first `count`, zero behind them.
template <bool vectors, int N, class T>
SLUICE_DEVICE Vector<T, N> load_elements(const T* from, std::int64_t count)
{
    if constexpr (vectors) {
        return load_vector<N>(from);
    } else {
        Vector<T, N> elements;
        for (int i = 0; i < N; ++i)
            elements.at[i] = i < count ? from[i] : T{};
        return elements;
    }
}

template <int N, class T>
SLUICE_DEVICE Floats<N> floats_of(const Vector<T, N>& elements)
{
    Floats<N> floats;
    for (int i = 0; i < N; ++i)
        floats[i] = to_float(elements.at[i]);
    return floats;
}

} // namespace sluice::kernels::SLUICE_DEVICE_NAMESPACE
