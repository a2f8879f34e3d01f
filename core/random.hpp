// Counter-based random numbers: element i of stream (seed, name) is a pure function of the three,
// so weights and sample order do not depend on who draws them, when, or in what order.
//
// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sluice {

std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter,
                                           std::array<std::uint32_t, 2> key);

class RandomStream {
public:
    /// `name` is a parameter's name or the purpose of the numbers ("data.order").
    RandomStream(std::uint64_t seed, std::string_view name);

    std::uint64_t bits(std::uint64_t index) const;
    /// In the open interval (0, 1).
    double uniform(std::uint64_t index) const;
    /// Standard normal (Box-Muller on the two halves of one Philox block).
    double normal(std::uint64_t index) const;
    /// Standard normal conditioned on |x| <= bound, by rejection over (index, attempt).
    double truncated_normal(std::uint64_t index, double bound) const;

private:
    std::array<std::uint32_t, 4> block(std::uint64_t index, std::uint32_t attempt) const;

    std::array<std::uint32_t, 2> key_;
    std::uint32_t stream_;
};

} // namespace sluice
