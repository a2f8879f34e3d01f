#include "core/random.hpp"

#include <cmath>
#include <numbers>
#include <xxhash.h>

namespace sluice {

namespace {

double open_unit(std::uint32_t high, std::uint32_t low)
{
    // 52 random bits plus a half: never 0, never 1.
    const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 20) | (low >> 12);
    return (static_cast<double>(bits) + 0.5) * 0x1p-52;
}

double box_muller(const std::array<std::uint32_t, 4>& random)
{
    const double radius = std::sqrt(-2.0 * std::log(open_unit(random[0], random[1])));
    return radius * std::cos(2.0 * std::numbers::pi * open_unit(random[2], random[3]));
}

} // namespace

std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter,
                                           std::array<std::uint32_t, 2> key)
{
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = 0xD2511F53ull * counter[0];
        const std::uint64_t product1 = 0xCD9E8D57ull * counter[2];
        counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product1),
                   static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product0)};
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    return counter;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view name)
{
    const std::uint64_t stream = XXH64(name.data(), name.size(), seed);
    key_ = {static_cast<std::uint32_t>(seed ^ stream),
            static_cast<std::uint32_t>((seed >> 32) ^ (stream >> 32))};
    stream_ = static_cast<std::uint32_t>(XXH64(name.data(), name.size(), ~seed));
}

std::array<std::uint32_t, 4> RandomStream::block(std::uint64_t index, std::uint32_t attempt) const
{
    return philox4x32_10({static_cast<std::uint32_t>(index),
                          static_cast<std::uint32_t>(index >> 32), attempt, stream_},
                         key_);
}

std::uint64_t RandomStream::bits(std::uint64_t index) const
{
    const auto random = block(index, 0);
    return (static_cast<std::uint64_t>(random[0]) << 32) | random[1];
}

double RandomStream::uniform(std::uint64_t index) const
{
    const auto random = block(index, 0);
    return open_unit(random[0], random[1]);
}

double RandomStream::normal(std::uint64_t index) const { return box_muller(block(index, 0)); }

double RandomStream::truncated_normal(std::uint64_t index, double bound) const
{
    for (std::uint32_t attempt = 0;; ++attempt) {
        const double value = box_muller(block(index, attempt));
        if (std::abs(value) <= bound)
            return value;
    }
}

} // namespace sluice
