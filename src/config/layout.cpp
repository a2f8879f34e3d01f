#include "src/config/layout.hpp"

#include "core/error.hpp"
#include "src/config/run_key.hpp"

#include <algorithm>
#include <charconv>

namespace sluice {

namespace {

/// ": --nodes 3", where that many ranks can be said so.
std::string option_text(const RanksOption& said_by, std::int64_t num_ranks)
{
    return num_ranks < said_by.ranks_each ? ""
                                          : ": " + std::string(said_by.name) + " " +
                                                std::to_string(num_ranks / said_by.ranks_each);
}

/// No model has more; sums of them stay numbers.
constexpr std::int64_t most_layers = std::int64_t{1} << 32;

void check_replicas(const PipelineConfig& pipeline, std::int64_t num_ranks,
                    const std::string& where)
{
    const std::int64_t replicas = pipeline.replicas;
    if (num_ranks % replicas == 0)
        return;
    std::int64_t divisor = std::min(replicas, num_ranks);
    while (num_ranks % divisor != 0)
        --divisor;
    const std::int64_t below = num_ranks / replicas * replicas;
    throw usage_error("pipeline.replicas = " + std::to_string(replicas) +
                          " pipelines cannot share the ranks evenly",
                      where,
                      "start " + (below > 0 ? std::to_string(below) + " or " : "") +
                          std::to_string(below + replicas) +
                          " ranks, or write --set pipeline.replicas=" + std::to_string(divisor));
}

} // namespace

std::vector<std::int64_t> layers_per_chunk(const std::string& partition, const std::string& where)
{
    std::vector<std::int64_t> layers;
    const char* at = partition.data();
    const char* const end = at + partition.size();
    while (true) {
        while (at != end && *at == ' ')
            ++at;
        std::int64_t number = 0;
        const auto [rest, error] = std::from_chars(at, end, number);
        if (error != std::errc() || number < 0 || number > most_layers)
            break;
        layers.push_back(number);
        for (at = rest; at != end && *at == ' ';)
            ++at;
        // Only the last chunk, which has the head, may do without layers.
        if (at == end && (number > 0 || layers.size() > 1))
            return layers;
        if (number == 0 || at == end || *at++ != ',')
            break;
    }
    throw usage_error("\"" + partition + "\" is not a partition", where,
                      "write \"auto\", or the layers of each chunk, at least one each (the "
                      "last, which has the head, may have none), like \"7,5\"");
}

// Kinds begin with the families, in the same order.
static_assert(static_cast<std::size_t>(PipelineScheduleKind::custom) ==
                  all_schedule_families.size() &&
              static_cast<int>(PipelineScheduleKind::v_half) ==
                  static_cast<int>(ScheduleFamily::v_half));

ScheduleFamily family_of(PipelineScheduleKind kind)
{
    SLUICE_CHECK(kind < PipelineScheduleKind::custom, "no family");
    return static_cast<ScheduleFamily>(kind);
}

PipelineScheduleKind kind_of(ScheduleFamily family)
{
    return static_cast<PipelineScheduleKind>(family);
}

std::int32_t num_chunks(const PipelineConfig& pipeline, int num_ranks)
{
    return num_ranks * chunks_per_rank_of(family_of(pipeline.schedule), pipeline.chunks_per_rank);
}

std::string layout_of_ranks(std::int64_t num_ranks)
{
    return "layout of " + std::to_string(num_ranks) + " rank" + (num_ranks == 1 ? "" : "s");
}

void check_layout(const RunConfig& config, std::int64_t num_ranks, RanksOption said_by)
{
    const std::string where = layout_of_ranks(num_ranks);
    if (num_ranks < 1)
        throw usage_error("a run needs at least one rank", where, "start at least one");
    if (num_ranks > most_ranks)
        throw usage_error("no machine has so many ranks", where,
                          "start at most " + std::to_string(most_ranks) +
                              ", those of all pipeline.replicas = " +
                              std::to_string(config.pipeline.replicas) + " together");
    check_replicas(config.pipeline, num_ranks, where);
    const std::int64_t num_layers = config.model.num_layers;
    const std::int64_t replicas = config.pipeline.replicas;
    const int num_stages = static_cast<int>(num_ranks / replicas);
    if (num_stages > num_layers)
        throw usage_error(
            "there are more stages than layers: " + std::to_string(num_ranks) + " ranks" +
                (replicas == 1 ? "" : " in " + std::to_string(replicas) + " replicas") +
                " for model.num_layers = " + std::to_string(num_layers),
            where,
            "start at most " + std::to_string(num_layers * replicas) + " ranks" +
                option_text(said_by, num_layers * replicas));
    if (config.pipeline.schedule == PipelineScheduleKind::custom ||
        config.pipeline.schedule == PipelineScheduleKind::automatic)
        return; // how many chunks: the file says, or the planner chooses
    const std::int64_t chunks = num_chunks(config.pipeline, num_stages);
    if (chunks > num_layers) {
        const std::int64_t most_stages = num_layers / (chunks / num_stages);
        throw usage_error(
            "there are more chunks than layers: " + std::to_string(chunks) + " of " +
                std::string(name_of(config.pipeline.schedule)) +
                " for model.num_layers = " + std::to_string(num_layers),
            where,
            (most_stages > 0
                 ? "start at most " + std::to_string(most_stages * replicas) + " ranks, or choose"
                 : std::string("choose")) +
                " a schedule with fewer chunks per rank");
    }
    check_partition(config, static_cast<std::int32_t>(chunks), where);
}

void check_partition(const RunConfig& config, std::int32_t num_chunks, const std::string& where)
{
    if (config.pipeline.partition == "auto")
        return;
    const auto layers = layers_per_chunk(config.pipeline.partition, where);
    if (layers.size() != static_cast<std::size_t>(num_chunks))
        throw usage_error("pipeline.partition = \"" + config.pipeline.partition + "\" names " +
                              std::to_string(layers.size()) + " chunks, the schedule has " +
                              std::to_string(num_chunks),
                          where,
                          "give as many numbers as there are chunks, or write "
                          "--set pipeline.partition=auto");
}

} // namespace sluice
