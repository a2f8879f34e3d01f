#include "src/plan/plan_report.hpp"

#include "src/config/run_key.hpp"
#include "src/plan/checkpoint_space.hpp"

#include <nlohmann/json.hpp>

namespace sluice {

namespace {

using Json = nlohmann::ordered_json;

Json json_of(const IdleCauses& idle)
{
    return {{"fill_drain", idle.fill_drain},
            {"imbalance", idle.imbalance},
            {"exposed_transfer", idle.exposed_transfer},
            {"barrier", idle.barrier}};
}

Json json_of(const StageMemory& memory)
{
    return {{"weights", memory.parameter_bytes},
            {"gradients", memory.gradient_bytes},
            {"moments", memory.optimizer_bytes},
            {"activations", memory.activation_bytes},
            {"transfers", memory.transfer_bytes},
            {"exchange", memory.exchange_bytes},
            {"scratch", memory.scratch_bytes},
            {"snapshot", memory.snapshot_bytes},
            {"program", total_bytes(memory) - memory.total_bytes()},
            {"total", total_bytes(memory)}};
}

Json json_of(const PassSeconds& seconds)
{
    return {{"forward", seconds.forward},
            {"backward_input", seconds.backward_input},
            {"backward_weight", seconds.backward_weight}};
}

Json json_of(const Candidate& candidate, std::size_t bytes_per_rank)
{
    return {{"schedule", name_of(candidate.layout.schedule)},
            {"chunks_per_rank", candidate.layout.chunks_per_rank},
            {"extra_warmup", candidate.layout.extra_warmup},
            {"recompute", name_of(candidate.layout.recompute)},
            {"asked", candidate.asked},
            {"fits", candidate.fits(bytes_per_rank)},
            {"seconds_per_update", candidate.seconds_per_update},
            {"optimizer_seconds", candidate.optimizer_seconds},
            {"ideal_seconds", candidate.ideal_seconds},
            {"partition_bound", candidate.partition_bound},
            {"busy_share", candidate.busy_share()},
            {"mean_idle_seconds", json_of(candidate.idle.mean())},
            {"peak_bytes", candidate.peak_bytes},
            {"fullest_rank", candidate.fullest_rank}};
}

Json ranks_json(const PricedPlan& priced)
{
    Json ranks = Json::array();
    for (std::size_t rank = 0; rank < priced.candidate.memory.size(); ++rank)
        ranks.push_back({{"rank", rank},
                         {"busy_seconds", priced.candidate.idle.busy[rank]},
                         {"idle_seconds", json_of(priced.candidate.idle.ranks[rank])},
                         {"bytes", json_of(priced.candidate.memory[rank])}});
    return ranks;
}

Json chunks_json(const PricedPlan& priced)
{
    Json chunks = Json::array();
    const auto costs = costs_of_chunks(priced.plan, priced.costs);
    for (std::size_t chunk = 0; chunk < costs.size(); ++chunk) {
        const LayerRange& range = priced.plan.partition[chunk];
        chunks.push_back({{"chunk", chunk},
                          {"rank", priced.plan.program.rank_of_chunk[chunk]},
                          {"first_layer", range.begin},
                          {"num_layers", range.num_layers()},
                          {"embedding", range.embedding},
                          {"head", range.head},
                          {"forward", costs[chunk].forward},
                          {"backward_input", costs[chunk].backward_input},
                          {"backward_weight", costs[chunk].backward_weight},
                          {"transfer", costs[chunk].transfer}});
    }
    return chunks;
}

} // namespace

std::string plan_json(const PricedPlan& priced, const std::vector<Candidate>& candidates,
                      std::size_t bytes_per_rank)
{
    Json json = json_of(priced.candidate, bytes_per_rank);
    json.erase("asked");
    json["replicas"] = priced.candidate.layout.replicas;
    json["num_ranks"] = priced.plan.program.num_ranks();
    const CheckpointSpace space = plan_checkpoint_space(priced.config, priced.plan);
    json["checkpoints"] = {{"bytes_each", space.bytes_each}, {"most_kept", space.most_kept}};
    json["num_microbatches"] = priced.plan.program.num_microbatches;
    json["costs"] = {{"source", priced.costs.source},
                     {"embedding", json_of(priced.costs.embedding)},
                     {"decoder_layer", json_of(priced.costs.decoder_layer)},
                     {"head", json_of(priced.costs.head)},
                     {"recompute_lean", priced.costs.recompute.lean},
                     {"recompute_full", priced.costs.recompute.full},
                     {"optimizer_per_parameter", priced.costs.optimizer_per_parameter},
                     {"transfer_latency", priced.costs.transfer_latency},
                     {"transfer_bytes_per_second", priced.costs.transfer_bytes_per_second}};
    json["ranks"] = ranks_json(priced);
    json["chunks"] = chunks_json(priced);
    if (bytes_per_rank != unlimited_bytes)
        json["bytes_per_rank"] = bytes_per_rank;
    if (!candidates.empty()) {
        json["candidates"] = Json::array();
        for (const Candidate& candidate : candidates)
            json["candidates"].push_back(json_of(candidate, bytes_per_rank));
        if (const Candidate* best = recommended(candidates, bytes_per_rank); best != nullptr)
            json["recommended"] = {
                {"schedule", name_of(best->layout.schedule)},
                {"overrides", as_overrides(best->layout, priced.config.pipeline)}};
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; // names of files
}

} // namespace sluice
