#include "src/plan/gates_within_run.hpp"

#include "pipeline/residual_warmup.hpp"

#include <fmt/format.h>

namespace sluice {

std::string gates_that_stay_behind(const RunConfig& config)
{
    const std::int64_t T = config.prores.warmup_steps, L = config.model.num_layers;
    const auto alpha = [&](std::int64_t layer, std::int64_t completed_updates) {
        return residual_alpha(config.prores.schedule, T, L, layer, completed_updates);
    };
    const auto at_end = [&](std::int64_t layer) { return alpha(layer, config.run.updates - 1); };
    std::int64_t num_behind = 0, last = 1;
    for (std::int64_t layer = 1; layer <= L; ++layer) {
        num_behind += at_end(layer) < alpha(layer, T * L);
        if (at_end(layer) < at_end(last))
            last = layer;
    }
    if (num_behind == 0)
        return {};
    const std::int64_t until_open = config.prores.schedule == WarmupSchedule::equal ? T : T * L;
    return fmt::format("the run ends before its gates are open: {} of {} layers stay behind, layer "
                       "{} at {:.6g}. Update {} would be the first with all of them open; "
                       "run.updates = {}, prores.warmup_steps = {}",
                       num_behind, L, last, at_end(last), until_open + 1, config.run.updates, T);
}

} // namespace sluice
