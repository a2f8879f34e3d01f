#include "benchmarks/gpu_updates.hpp"

#include "benchmarks/gpu_targets.hpp"
#include "benchmarks/gpu_update_table.hpp"
#include "benchmarks/rank_under_test.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

constexpr double mib = 1048576.0;

bool in_bf16(const std::string& precision)
{
    return precision == "bf16" || precision == "pure-bf16";
}

/// cuDNN's takes bf16 only.
std::string attention_of(const std::string& precision, const Effort& effort)
{
    return in_bf16(precision) ? effort.attention : "own";
}

/// What is trained, but for the size of micro-batches.
struct UpdateCase {
    std::string preset, precision, recompute = "none";
};

/// One GPU, `num_microbatches` of one size.
RunConfig config_of(const UpdateCase& what, std::int64_t micro_batch_size, const Effort& effort,
                    const std::string& graphs = "false")
{
    constexpr int num_microbatches = 4;
    const std::string model =
        effort.tiny ? "vocab_size = 257\nhidden_size = 64\nintermediate_size = 48\nnum_layers = 2\n"
                      "num_heads = 1\nmax_seq_len = 16\n"
                    : fmt::format("preset = \"{}\"\n", what.preset);
    const bool tf32 = what.precision == "tf32";
    return parse_run_config(
        fmt::format("[model]\n{}[prores]\nschedule = \"off\"\n[optimizer]\nlr = 0.001\n"
                    "[batch]\nglobal_batch_size = {}\nmicro_batch_size = {}\nseq_len = {}\n"
                    "[pipeline]\ngraphs = {}\nrecompute = \"{}\"\n[precision]\ncompute = "
                    "\"{}\"\ntf32 = {}\n"
                    "attention = \"{}\"\n[data]\ntrain = \"none.h5\"\n"
                    "[checkpoint]\nasynchronous = false\n"
                    "[run]\nupdates = 100000\nseed = 1\ndevice = \"cuda\"\n",
                    model, num_microbatches * micro_batch_size, micro_batch_size,
                    effort.tiny ? 16 : 1024, graphs, what.recompute, tf32 ? "fp32" : what.precision,
                    tf32, attention_of(what.precision, effort)),
        "benchmark", ".", {});
}

std::size_t needed_bytes(const RunConfig& config)
{
    return plan_run(config, 1).rank_bytes(0) + GpuStream::usual_workspace_bytes;
}

/// The largest micro-batch of 1 to 64 sequences that fits into `bytes`; 0: none.
std::int64_t fitting_micro_batch(const UpdateCase& what, std::size_t bytes, const Effort& effort)
{
    for (std::int64_t size = effort.tiny ? 2 : 64; size > 0; size /= 2)
        if (needed_bytes(config_of(what, size, effort)) <= bytes)
            return size;
    return 0;
}

struct TimedUpdates {
    std::vector<double> seconds;
    double planned_bytes = 0.0, taken_bytes = 0.0;
    /// Taken of the GPU by all and everything, CUDA's own share included.
    double device_bytes = 0.0;
    HeldGraphs graphs;
};

TimedUpdates time_updates(const RunConfig& config, const Effort& effort)
{
    const std::size_t free_before = free_gpu_bytes();
    const auto transport = make_in_process_transport();
    RankUnderTest rank(config, *transport);
    TimedUpdates timed;
    constexpr int to_warm_up = 2; // libraries in the first, captures in the second
    for (int i = 0; i < effort.rounds() + to_warm_up; ++i) {
        const double found = rank.update(i + 1).update;
        if (i >= to_warm_up)
            timed.seconds.push_back(found);
    }
    timed.planned_bytes = static_cast<double>(needed_bytes(config));
    timed.taken_bytes = static_cast<double>(free_before - free_gpu_bytes());
    timed.device_bytes = static_cast<double>(used_gpu_bytes());
    for (const StageChunk& chunk : rank.stage().chunks()) {
        timed.graphs.num_graphs += chunk.model->held_graphs().num_graphs;
        timed.graphs.num_launches += chunk.model->held_graphs().num_launches;
    }
    return timed;
}

/// One model at one size: what of the row is measured.
void time_model(nlohmann::json& row, const UpdateCase& what, const Ceilings& ceilings,
                const Effort& effort)
{
    const auto config = [&](const char* graphs) {
        return config_of(what, row["micro_batch_size"].get<std::int64_t>(), effort, graphs);
    };
    const bool chosen = captures_graphs(config("\"auto\""));
    // Launches never dominate where layers are that large.
    const bool both = chosen || num_parameters(config("false").model) < 1'000'000'000;
    const TimedUpdates single = time_updates(config("false"), effort);
    const TimedUpdates graphs = both ? time_updates(config("true"), effort) : TimedUpdates{};
    const std::vector<double>& seconds = (chosen ? graphs : single).seconds;
    const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
    const auto tokens = static_cast<double>(config("false").batch.tokens_per_update());
    const double tflops = flops_per_token(config("false").model, config("false").batch.seq_len) *
                          tokens / upper_median(seconds) * 1e-12;
    row.update({{"attention", attention_of(what.precision, effort)},
                {"graphs", chosen},
                {"seconds", upper_median(seconds)},
                {"seconds_range", {*least, *most}},
                {"seconds_without_graphs", upper_median(single.seconds)},
                {"tokens_per_second", tokens / upper_median(seconds)},
                {"tflops", tflops},
                {"share_of_matmul", tflops / ceilings.matmul(what.precision)},
                {"planned_mib", single.planned_bytes / mib},
                {"taken_mib", single.taken_bytes / mib},
                {"device_mib", single.device_bytes / mib},
                {"taken_over_planned", single.taken_bytes / single.planned_bytes}});
    if (in_bf16(what.precision))
        row["share_of_sustained_matmul"] = tflops / ceilings.matmul_bf16_sustained;
    if (both)
        row.update({{"seconds_with_graphs", upper_median(graphs.seconds)},
                    {"graph_launches", graphs.graphs.num_launches},
                    {"graph_mib", (graphs.taken_bytes - single.taken_bytes) / mib}});
}

void judge(nlohmann::json& row, const std::string& by)
{
    if (row.contains("targets") && row["targets"].contains(by))
        row["verdicts"][by] = verdict(by, row["targets"][by], row[by].get<double>());
}

/// `wanted`: sequences of a micro-batch, 0: as many as fit.
nlohmann::json measure_updates(const UpdateCase& what, std::int64_t wanted,
                               const Ceilings& ceilings, const Effort& effort)
{
    nlohmann::json row{
        {"preset", what.preset}, {"precision", what.precision}, {"recompute", what.recompute}};
    try {
        // A tenth for what the libraries take when the first product runs, and for graphs; and
        // cuDNN's scratch memory.
        const std::size_t for_cudnn =
            effort.attention == "cudnn" && !effort.tiny ? std::size_t{768} << 20 : 0;
        const std::size_t free = free_gpu_bytes();
        const std::int64_t most =
            fitting_micro_batch(what, std::max(free / 10 * 9, for_cudnn) - for_cudnn, effort);
        const std::int64_t size = wanted == 0 ? std::max<std::int64_t>(most, 1) : wanted;
        row["fits"] = most > 0 && size <= most;
        row["micro_batch_size"] = size;
        row["free_mib"] = static_cast<double>(free) / mib;
        row["needs_mib"] =
            static_cast<double>(needed_bytes(config_of(what, size, effort)) + for_cudnn) / mib;
        if (!row["fits"].get<bool>())
            return row;
        time_model(row, what, ceilings, effort);
        if (in_bf16(what.precision) && size >= effort.full_micro_batch())
            row["targets"] = gpu_targets_of(what.preset, gpu_info(0).name);
        for (const char* by : {"share_of_matmul", "tokens_per_second", "taken_over_planned"})
            judge(row, by);
    } catch (const std::exception& error) {
        row["failed"] = error.what();
        row["fits"] = false;
        row.emplace("micro_batch_size", wanted);
    }
    return row;
}

/// What is tried besides, where a row in bf16 has not room enough.
std::vector<UpdateCase> instead_of(const UpdateCase& what, const nlohmann::json& row,
                                   std::int64_t wanted, const Effort& effort)
{
    const bool full = row["fits"].get<bool>() &&
                      (wanted > 0 || row["micro_batch_size"] >= effort.full_micro_batch());
    if (what.precision != "bf16" || full || row.contains("failed"))
        return {};
    return {{what.preset, "bf16", "full"},
            {what.preset, "pure-bf16"}}; // 8 bytes per parameter instead of 18
}

/// Of deep models, in rows that have the one with 12 layers too.
void compare_depths(nlohmann::json& rows)
{
    for (const auto& shallow : rows) {
        if (shallow["preset"] != "llama-71m" || !shallow.contains("targets"))
            continue;
        for (auto& row : rows) {
            if (!row.contains("targets") || !row["targets"].contains("share_of_12_layers") ||
                row["precision"] != shallow["precision"] ||
                row["recompute"] != shallow["recompute"] || row.contains("share_of_12_layers"))
                continue;
            row["share_of_12_layers"] =
                row["share_of_matmul"].get<double>() / shallow["share_of_matmul"].get<double>();
            judge(row, "share_of_12_layers");
        }
    }
}

} // namespace

nlohmann::json measure_models(const Models& models, const Ceilings& ceilings, const Effort& effort,
                              const std::function<void(const nlohmann::json&)>& keep)
{
    print_updates_title(effort.tiny ? 16 : 1024, effort.full_micro_batch());
    auto rows = nlohmann::json::array();
    const auto add = [&](nlohmann::json row) {
        rows.push_back(std::move(row));
        print_update(rows.back());
        keep(rows);
    };
    for (const std::string& preset : models.presets)
        for (const std::string& precision : models.precisions)
            for (const std::int64_t size : models.micro_batch_sizes) {
                const UpdateCase what{preset, precision};
                const nlohmann::json row = measure_updates(what, size, ceilings, effort);
                add(row);
                for (const UpdateCase& other : instead_of(what, row, size, effort)) {
                    nlohmann::json instead = measure_updates(other, size, ceilings, effort);
                    instead["instead_of"] = precision;
                    add(std::move(instead));
                }
            }
    compare_depths(rows);
    print_deep(rows);
    print_graphs(rows);
    return rows;
}

} // namespace sluice
