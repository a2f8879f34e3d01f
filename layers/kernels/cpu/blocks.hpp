// Long arrays cut into blocks that one thread takes whole.
#pragma once

#include "core/parallel.hpp"

#include <algorithm>
#include <cstdint>

namespace sluice::kernels {

/// 64 KiB of floats: long enough to pay for a thread, short enough to share evenly.
inline constexpr std::int64_t elements_per_block = 16384;

/// body(begin, end) for consecutive blocks of [0, count), in parallel.
template <class Body>
void for_each_block(std::int64_t count, std::int64_t block, Body&& body)
{
    parallel_for((count + block - 1) / block,
                 [&](std::int64_t i) { body(i * block, std::min(count, (i + 1) * block)); });
}

} // namespace sluice::kernels
