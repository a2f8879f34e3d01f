// What `sluice plan` says: tables of 80 columns, or JSON.
#pragma once

#include "src/plan/candidate.hpp"

#include <string>
#include <vector>

namespace sluice {

/// A run laid out, and what it would cost.
struct PricedPlan {
    const RunConfig& config; ///< its pipeline is `candidate`'s layout
    const RunPlan& plan;
    const CostModel& costs;
    const Candidate& candidate;
};

/// "zb-v", "interleaved-1f1b x4 +1": chunks per rank where there can be several, extra warm-up.
std::string layout_name(const PipelineConfig& layout);

/// Model, layout and where the costs come from.
std::string heading_text(const PricedPlan& priced);
/// One line per rank: layers, cost, bytes for each purpose, idle time. Of many ranks, some, the
/// fullest among them.
std::string ranks_text(const PricedPlan& priced);
/// Time of an update, bounds, and idle time by cause.
std::string time_text(const PricedPlan& priced);

/// One line per candidate: those that fit, fastest first, then the others.
std::string comparison_text(const std::vector<Candidate>& candidates, std::size_t bytes_per_rank);
/// "recommended: --set ...", or that the run file's layout is best, or that none fits.
std::string recommendation_text(const std::vector<Candidate>& candidates, const RunConfig& config,
                                std::size_t bytes_per_rank);

/// Everything above as one JSON object; `candidates` may be empty.
std::string plan_json(const PricedPlan& priced, const std::vector<Candidate>& candidates,
                      std::size_t bytes_per_rank);

} // namespace sluice
