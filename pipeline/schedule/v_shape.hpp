// Zero-bubble schedules whose chunks go down the ranks and up again, so that the rank that starts
// first also ends last and all ranks need the same memory.
#pragma once

#include "pipeline/schedule/schedule.hpp"

#include <cstdint>

namespace sluice {

/// ZB-V: at most 2P chunk activations (half stages) alive on every rank. Where F = I = W, no rank
/// idles between its first action and its last: (P-1) F of one chunk in all.
Schedule make_zb_v(std::int32_t num_ranks, std::int32_t num_microbatches);

/// V-half: at most P + 2 chunk activations (half stages) alive on every rank, about half of ZB-V's
/// and of 1F1B's, and about half of 1F1B's idle time where F = I = W.
Schedule make_v_half(std::int32_t num_ranks, std::int32_t num_microbatches);

} // namespace sluice
