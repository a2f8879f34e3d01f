// The size of what flows through the pipeline at once.
#pragma once

#include <cstdint>

namespace sluice {

struct MicroBatchShape {
    std::int64_t num_sequences = 0; ///< B
    std::int64_t seq_len = 0;       ///< T
    std::int64_t num_tokens() const { return num_sequences * seq_len; }
};

} // namespace sluice
