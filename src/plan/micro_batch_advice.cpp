#include "src/plan/micro_batch_advice.hpp"

#include "src/plan/candidate.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace sluice {

namespace {

/// Tokens at once. An H100 trained a 71M model on 273,000 tokens a second with 1,024 at once, and
/// on 735,000 with the second number (docs/benchmarks).
constexpr std::int64_t few_tokens = 16'384, many_tokens = 65'536;

} // namespace

std::string micro_batch_advice(const RunConfig& config, int num_stages, std::size_t bytes_per_rank)
{
    const std::int64_t now = config.batch.micro_batch_size, seq_len = config.batch.seq_len;
    if (config.run.device != "cuda" || num_stages > 1 || now * seq_len >= few_tokens)
        return {};
    const std::int64_t all = config.batch.global_batch_size / config.pipeline.replicas;
    for (std::int64_t size = std::min(all, many_tokens / seq_len); size >= 2 * now; --size) {
        if (all % size != 0)
            continue;
        RunConfig larger = config;
        larger.batch.micro_batch_size = size;
        if (peak_of(plan_run(larger, 1)).bytes <= bytes_per_rank)
            return fmt::format("micro-batches of {} x {} tokens are small for a GPU: "
                               "batch.micro_batch_size = {} fits, too, and is usually faster; it "
                               "is part of the result (sums are rounded otherwise)",
                               now, seq_len, size);
    }
    return {};
}

} // namespace sluice
