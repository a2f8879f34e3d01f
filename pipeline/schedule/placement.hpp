// Which rank owns which chunk. Chunk c's output is chunk c+1's input, so the placement says how
// often and which way a micro-batch travels.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice {

/// With P ranks, chunk c is on rank
enum class Placement : std::uint8_t {
    linear, ///< c; one chunk per rank
    looped, ///< c mod P; v chunks per rank, from the last rank back to rank 0 after each round
    v_shape ///< c down to the last rank, 2P-1-c up again; two chunks per rank, first and last on 0
};

/// [num_chunks]: rank of each chunk. `chunks_per_rank` is 1 for linear and 2 for v_shape.
std::vector<std::int32_t> rank_of_chunks(Placement placement, std::int32_t num_ranks,
                                         std::int32_t chunks_per_rank);

} // namespace sluice
