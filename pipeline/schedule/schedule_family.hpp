// The schedules that can be asked for by name, and what each promises: one entry for the planner,
// the run file and the tests. docs/schedules.md shows each with its idle time and memory.
#pragma once

#include "pipeline/schedule/placement.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice {

enum class ScheduleFamily : std::uint8_t {
    gpipe,
    one_f_one_b,
    interleaved_1f1b,
    zb_h1,
    interleaved_zb,
    zb_v,
    v_half,
};

constexpr std::array<ScheduleFamily, 7> all_schedule_families{
    ScheduleFamily::gpipe, ScheduleFamily::one_f_one_b,    ScheduleFamily::interleaved_1f1b,
    ScheduleFamily::zb_h1, ScheduleFamily::interleaved_zb, ScheduleFamily::zb_v,
    ScheduleFamily::v_half};

/// As in run files: gpipe, 1f1b, interleaved-1f1b, zb-h1, interleaved-zb, zb-v, v-half.
std::string_view name_of(ScheduleFamily family);

Placement placement_of(ScheduleFamily family);
/// How many chunks a rank has when `asked` are asked for: 1, `asked` (interleaved families), or 2
/// (V shapes).
std::int32_t chunks_per_rank_of(ScheduleFamily family, std::int32_t asked);
/// Whether ScheduleRequest::extra_warmup means something to the family; it must be 0 otherwise.
bool takes_extra_warmup(ScheduleFamily family);

struct ScheduleRequest {
    ScheduleFamily family = ScheduleFamily::one_f_one_b;
    std::int32_t num_ranks = 1;
    std::int32_t num_microbatches = 1;
    /// Taken as chunks_per_rank_of() says.
    std::int32_t chunks_per_rank = 1;
    /// Additional forwards before the first backward, per rank behind: memory against exposed
    /// transfer time. Rank i starts with (P-1-i) (1 + extra_warmup) forwards, and (v-1) P more with
    /// v chunks, which can use no more than 1.
    std::int32_t extra_warmup = 0;
    /// Per chunk, in seconds: all families but gpipe and 1f1b suit their order to them
    /// (best_for_costs). Empty: the family's own order, made for F = I = W and fast transfers.
    std::vector<ChunkCosts> costs;
};

/// The schedule, without communication. A pure function: equal requests give equal schedules on
/// every rank. Broken requests (no ranks, costs of another number of chunks) are InvariantErrors.
Schedule make_schedule(const ScheduleRequest& request);

/// The memory claim: the most chunk activations that are alive at once on any rank, from their
/// forward to their weight gradient. A chunk is 1/v of a stage. Receives that are posted early come
/// on top.
std::int32_t claimed_live_activations(const ScheduleRequest& request);

} // namespace sluice
