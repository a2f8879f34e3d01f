// Finds silent corruption: an update is computed twice, and all gradients must come out the same to
// the bit.
#pragma once

#include "pipeline/stage.hpp"

#include <cstdint>
#include <vector>

namespace sluice {

class RepeatCheck {
public:
    /// Remembers the gradients as they are, by a checksum each.
    void remember(Stage& stage);
    /// Number in the whole model of the first parameter of this rank whose gradient is no longer
    /// what was remembered; -1: all are.
    std::int64_t first_difference(Stage& stage) const;

private:
    std::vector<std::uint64_t> checksums_; ///< of this rank's parameters, in their order
};

} // namespace sluice
