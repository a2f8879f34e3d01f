#include "pipeline/schedule/placement.hpp"

#include "core/error.hpp"

#include <cstddef>

namespace sluice {

std::vector<std::int32_t> rank_of_chunks(Placement placement, std::int32_t num_ranks,
                                         std::int32_t chunks_per_rank)
{
    SLUICE_CHECK(num_ranks >= 1 && chunks_per_rank >= 1,
                 num_ranks << " ranks, " << chunks_per_rank << " chunks per rank");
    SLUICE_CHECK(placement == Placement::looped ||
                     chunks_per_rank == (placement == Placement::linear ? 1 : 2),
                 chunks_per_rank << " chunks per rank");
    const std::int32_t num_chunks = num_ranks * chunks_per_rank;
    std::vector<std::int32_t> ranks(static_cast<std::size_t>(num_chunks));
    for (std::int32_t c = 0; c < num_chunks; ++c) {
        const bool going_up = placement == Placement::v_shape && c >= num_ranks;
        ranks[static_cast<std::size_t>(c)] = going_up ? num_chunks - 1 - c : c % num_ranks;
    }
    return ranks;
}

} // namespace sluice
