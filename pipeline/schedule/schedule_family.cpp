#include "pipeline/schedule/schedule_family.hpp"

#include "core/error.hpp"
#include "pipeline/schedule/backward_fusion.hpp"
#include "pipeline/schedule/cost_search.hpp"
#include "pipeline/schedule/interleaved.hpp"
#include "pipeline/schedule/v_shape.hpp"

#include <algorithm>
#include <utility>

namespace sluice {

namespace {

struct Family {
    std::string_view name;
    Placement placement;
    bool extra_warmup;
};

const Family& traits(ScheduleFamily family)
{
    static constexpr std::array<Family, all_schedule_families.size()> table{{
        {"gpipe", Placement::linear, false},
        {"1f1b", Placement::linear, true},
        {"interleaved-1f1b", Placement::looped, true},
        {"zb-h1", Placement::linear, true},
        {"interleaved-zb", Placement::looped, true},
        {"zb-v", Placement::v_shape, false},
        {"v-half", Placement::v_shape, false},
    }};
    return table.at(static_cast<std::size_t>(family));
}

void check_request(const ScheduleRequest& request)
{
    SLUICE_CHECK(request.num_ranks >= 1 && request.num_microbatches >= 1 &&
                     request.chunks_per_rank >= 1 && request.extra_warmup >= 0,
                 request.num_ranks << " ranks, " << request.num_microbatches << " micro-batches, "
                                   << request.chunks_per_rank << " chunks per rank, extra warm-up "
                                   << request.extra_warmup);
    SLUICE_CHECK(request.extra_warmup == 0 || takes_extra_warmup(request.family),
                 name_of(request.family) << " takes no extra warm-up");
    const auto num_chunks =
        static_cast<std::size_t>(request.num_ranks) *
        static_cast<std::size_t>(chunks_per_rank_of(request.family, request.chunks_per_rank));
    SLUICE_CHECK(request.costs.empty() || request.costs.size() == num_chunks,
                 request.costs.size() << " costs for " << num_chunks << " chunks");
}

} // namespace

std::string_view name_of(ScheduleFamily family) { return traits(family).name; }

Placement placement_of(ScheduleFamily family) { return traits(family).placement; }

std::int32_t chunks_per_rank_of(ScheduleFamily family, std::int32_t asked)
{
    const Placement placement = placement_of(family);
    return placement == Placement::looped ? asked : placement == Placement::v_shape ? 2 : 1;
}

bool takes_extra_warmup(ScheduleFamily family) { return traits(family).extra_warmup; }

std::int32_t claimed_live_activations(const ScheduleRequest& request)
{
    check_request(request);
    const std::int32_t P = request.num_ranks, M = request.num_microbatches;
    const std::int32_t v = chunks_per_rank_of(request.family, request.chunks_per_rank);
    switch (request.family) {
    case ScheduleFamily::gpipe: return M;
    case ScheduleFamily::one_f_one_b:
    case ScheduleFamily::interleaved_1f1b:
    case ScheduleFamily::zb_h1:
    case ScheduleFamily::interleaved_zb:
        return live_activations_of_interleaved(P, M, v, request.extra_warmup);
    case ScheduleFamily::zb_v: return 2 * std::min(P, M);
    case ScheduleFamily::v_half: return std::min({P + 2, 2 * P, 2 * M});
    }
    SLUICE_CHECK(false, "family " << static_cast<int>(request.family));
    return 0;
}

Schedule make_schedule(const ScheduleRequest& request)
{
    check_request(request);
    const std::int32_t P = request.num_ranks, M = request.num_microbatches;
    const std::int32_t v = chunks_per_rank_of(request.family, request.chunks_per_rank);
    Schedule schedule;
    switch (request.family) {
    case ScheduleFamily::gpipe: return make_gpipe(P, M);
    case ScheduleFamily::one_f_one_b: return make_1f1b(P, M, request.extra_warmup);
    case ScheduleFamily::interleaved_1f1b:
        schedule = make_interleaved(P, M, v, request.extra_warmup, BackwardParts::whole);
        break;
    case ScheduleFamily::zb_h1:
    case ScheduleFamily::interleaved_zb:
        schedule = make_interleaved(P, M, v, request.extra_warmup, BackwardParts::split);
        break;
    case ScheduleFamily::zb_v: schedule = make_zb_v(P, M); break;
    case ScheduleFamily::v_half: schedule = make_v_half(P, M); break;
    }
    if (!request.costs.empty())
        schedule =
            best_for_costs(std::move(schedule), request.costs, claimed_live_activations(request));
    fuse_backwards(schedule);
    return schedule;
}

} // namespace sluice
