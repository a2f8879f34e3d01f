// Eight floats at a time, in the compiler's portable vector types (GCC, Clang). Every operation is
// per lane and rounds as its scalar twin, and sums over lanes have one fixed order, so results
// depend neither on alignment nor on what the compiler makes of a loop.
//
// bfloat16 exists in memory only: load() widens it, which is exact, and store() rounds to it.
#pragma once

#include "core/bfloat16.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace sluice::kernels {

inline constexpr int num_lanes = 8;
using Lanes = float __attribute__((vector_size(num_lanes * sizeof(float))));
using IntLanes = std::int32_t __attribute__((vector_size(num_lanes * sizeof(std::int32_t))));
using BitLanes = std::uint32_t __attribute__((vector_size(num_lanes * sizeof(std::uint32_t))));
using HalfLanes = std::uint16_t __attribute__((vector_size(num_lanes * sizeof(std::uint16_t))));

/// All lanes of a chunk are inside the array; the other kind of count is a plain int below 8.
using AllLanes = std::integral_constant<int, num_lanes>;

inline Lanes load(const float* from, AllLanes = {})
{
    Lanes lanes;
    std::memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

/// The first `count` lanes; the others are zero.
inline Lanes load(const float* from, int count)
{
    Lanes lanes{};
    std::memcpy(&lanes, from, static_cast<std::size_t>(count) * sizeof(float));
    return lanes;
}

inline void store(float* to, const Lanes& lanes, AllLanes = {})
{
    std::memcpy(to, &lanes, sizeof lanes);
}

inline void store(float* to, const Lanes& lanes, int count)
{
    std::memcpy(to, &lanes, static_cast<std::size_t>(count) * sizeof(float));
}

inline Lanes widened(const HalfLanes& halves)
{
    const BitLanes bits = __builtin_convertvector(halves, BitLanes) << 16;
    Lanes lanes;
    std::memcpy(&lanes, &bits, sizeof lanes);
    return lanes;
}

/// As bfloat16_of().
inline HalfLanes narrowed(const Lanes& lanes)
{
    BitLanes bits;
    std::memcpy(&bits, &lanes, sizeof bits);
    const BitLanes rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
    const BitLanes quiet_nan = bits >> 16 | 0x40U;
    return __builtin_convertvector((bits & 0x7fffffffU) > 0x7f800000U ? quiet_nan : rounded,
                                   HalfLanes);
}

template <class Count = AllLanes>
inline Lanes load(const BFloat16* from, Count count = {})
{
    HalfLanes halves{};
    std::memcpy(&halves, from, static_cast<std::size_t>(count) * sizeof(BFloat16));
    return widened(halves);
}

template <class Count = AllLanes>
inline void store(BFloat16* to, const Lanes& lanes, Count count = {})
{
    const HalfLanes halves = narrowed(lanes);
    std::memcpy(to, &halves, static_cast<std::size_t>(count) * sizeof(BFloat16));
}

/// One element, as load() and store() would.
inline float value_of(float x) { return x; }
inline float value_of(BFloat16 x) { return float_of(x); }
inline void put(float& to, float x) { to = x; }
inline void put(BFloat16& to, float x) { to = bfloat16_of(x); }

inline Lanes broadcast(float x) { return Lanes{x, x, x, x, x, x, x, x}; }

/// x y + z, rounded once. The loop becomes one instruction where the machine has one.
inline Lanes fma(const Lanes& x, const Lanes& y, const Lanes& z)
{
    Lanes result;
#pragma GCC unroll 8
    for (int lane = 0; lane < num_lanes; ++lane)
        result[lane] = std::fma(x[lane], y[lane], z[lane]);
    return result;
}

inline Lanes sqrt(const Lanes& x)
{
    Lanes result;
#pragma GCC unroll 8
    for (int lane = 0; lane < num_lanes; ++lane)
        result[lane] = std::sqrt(x[lane]);
    return result;
}

inline Lanes max(const Lanes& x, const Lanes& y) { return x > y ? x : y; }

inline float sum(const Lanes& x)
{
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/// exp(x) within 1.5 ulp for -87.33 <= x <= 88; 0 below, exp(88) above; NaN stays NaN.
/// Cody and Waite: x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) by the minimax polynomial of
/// Cephes' expf (S. Moshier).
inline Lanes exp(const Lanes& x)
{
    constexpr float round_to_integer = 12582912.0F; // 1.5 * 2^23: n ends up in the low bits
    const Lanes bounded = x > 88.0F ? broadcast(88.0F) : x;
    const Lanes shifted = fma(bounded, broadcast(1.44269504F), broadcast(round_to_integer));
    const Lanes n = shifted - round_to_integer;
    Lanes r = fma(n, broadcast(-0.693359375F), bounded);
    r = fma(n, broadcast(2.12194440e-4F), r);

    Lanes p = fma(broadcast(1.9875691500e-4F), r, broadcast(1.3981999507e-3F));
    p = fma(p, r, broadcast(8.3334519073e-3F));
    p = fma(p, r, broadcast(4.1665795894e-2F));
    p = fma(p, r, broadcast(1.6666665459e-1F));
    p = fma(p, r, broadcast(5.0000001201e-1F));
    p = fma(p, r * r, r) + 1.0F;

    IntLanes exponent;
    std::memcpy(&exponent, &shifted, sizeof exponent);
    exponent = (exponent + 127) << 23;
    Lanes power;
    std::memcpy(&power, &exponent, sizeof power);
    return x < -87.33F ? Lanes{} : p * power;
}

/// body(first, count) for consecutive chunks of [0, count): AllLanes, then what is left.
template <class Body>
inline void for_each_chunk(std::int64_t count, Body&& body)
{
    std::int64_t first = 0;
    for (; first + num_lanes <= count; first += num_lanes)
        body(first, AllLanes{});
    if (first < count)
        body(first, static_cast<int>(count - first));
}

} // namespace sluice::kernels
