// One forward, one backward over several chunks per rank, with whole or split backward passes.
#pragma once

#include "pipeline/schedule/schedule.hpp"

#include <cstdint>

namespace sluice {

enum class BackwardParts : bool {
    whole, ///< backward only
    split  ///< backward_input, and backward_weight later
};

/// What of `asked` a schedule with so many chunks per rank can use: all of it with one chunk, at
/// most 1 with several, where a deeper warm-up would wait for its own backwards.
std::int32_t useful_extra_warmup(std::int32_t chunks_per_rank, std::int32_t asked);

/// Looped placement, `chunks_per_rank` = v >= 1 chunks on each of P ranks. Rank i starts with
/// (v-1) P + (P-1-i) (1 + e) forwards, e the useful extra warm-up, where M is a multiple of P. Any
/// M will do; multiples idle least.
Schedule make_interleaved(std::int32_t num_ranks, std::int32_t num_microbatches,
                          std::int32_t chunks_per_rank, std::int32_t extra_warmup,
                          BackwardParts parts);
/// The most chunk activations alive at once on a rank of it: v P + (P-1) e where M is a multiple of
/// P. Otherwise up to P-1 more, to idle no longer.
std::int32_t live_activations_of_interleaved(std::int32_t num_ranks, std::int32_t num_microbatches,
                                             std::int32_t chunks_per_rank,
                                             std::int32_t extra_warmup);

} // namespace sluice
