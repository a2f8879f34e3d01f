// Finds silent corruption: an update is computed twice, and all gradients must come out the same to
// the bit.
#pragma once

#include "pipeline/stage.hpp"
#include "pipeline/tensor_checksums.hpp"

#include <cstdint>
#include <vector>

namespace sluice {

class RepeatCheck {
public:
    /// `stage` outlives it.
    explicit RepeatCheck(Stage& stage);

    /// Remembers the gradients as they are, by a checksum each.
    void remember();
    /// Number in the whole model of the first parameter of this rank whose gradient is no longer
    /// what was remembered; -1: all are.
    std::int64_t first_difference();

private:
    std::span<const std::uint64_t> checksums();

    Stage& stage_;
    TensorChecksums gradients_;             ///< a sum per parameter of this rank, in their order
    std::vector<std::uint64_t> remembered_; ///< the same
};

} // namespace sluice
