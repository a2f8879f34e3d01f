#include "io/sample_order.hpp"

#include "core/error.hpp"
#include "core/random.hpp"

#include <cmath>

namespace sluice {

namespace {

// Luby and Rackoff need four rounds for random round functions; the rest is margin for the very
// small domains of test data.
constexpr std::uint32_t num_rounds = 8;

std::uint64_t square_root_rounded_up(std::uint64_t value)
{
    auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(value)));
    while (root * root < value)
        ++root;
    while (root > 1 && (root - 1) * (root - 1) >= value)
        --root;
    return root;
}

std::array<std::uint32_t, 2> epoch_key(std::uint64_t seed, std::uint64_t epoch)
{
    const std::uint64_t bits = RandomStream(seed, "data.order").bits(epoch);
    return {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
}

std::uint64_t round_function(std::uint64_t half, std::uint32_t round,
                             std::array<std::uint32_t, 2> key)
{
    const auto random = philox4x32_10(
        {static_cast<std::uint32_t>(half), static_cast<std::uint32_t>(half >> 32), round, 0}, key);
    return (static_cast<std::uint64_t>(random[0]) << 32) | random[1];
}

} // namespace

SampleOrder::SampleOrder(std::uint64_t seed, std::uint64_t num_windows)
    : seed_(seed), num_windows_(num_windows)
{
    SLUICE_CHECK(num_windows >= 1 && num_windows <= (std::uint64_t{1} << 62),
                 "num_windows " << num_windows);
    rows_ = square_root_rounded_up(num_windows);
    columns_ = (num_windows + rows_ - 1) / rows_;
}

std::uint64_t SampleOrder::permute_once(std::uint64_t value, std::array<std::uint32_t, 2> key) const
{
    std::uint64_t row = value / columns_;
    std::uint64_t column = value % columns_;
    for (std::uint32_t round = 0; round < num_rounds; round += 2) {
        row = (row + round_function(column, round, key) % rows_) % rows_;
        column = (column + round_function(row, round + 1, key) % columns_) % columns_;
    }
    return row * columns_ + column;
}

std::uint64_t SampleOrder::window_of(std::uint64_t sample) const
{
    const auto key = epoch_key(seed_, epoch_of(sample));
    std::uint64_t value = sample % num_windows_;
    do
        value = permute_once(value, key);
    while (value >= num_windows_);
    return value;
}

} // namespace sluice
