#include "benchmarks/gpu_updates.hpp"

#include "benchmarks/rank_under_test.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

/// cuDNN's takes bf16 only.
std::string attention_of(const std::string& precision, const Effort& effort)
{
    return precision == "fp32" ? "own" : effort.attention;
}

/// One GPU, `num_microbatches` of the largest size that fits.
RunConfig config_of(const std::string& preset, const std::string& precision,
                    std::int64_t micro_batch_size, const Effort& effort,
                    const std::string& graphs = "false")
{
    constexpr int num_microbatches = 4;
    const std::string model =
        effort.tiny ? "vocab_size = 257\nhidden_size = 64\nintermediate_size = 48\nnum_layers = 2\n"
                      "num_heads = 1\nmax_seq_len = 16\n"
                    : fmt::format("preset = \"{}\"\n", preset);
    return parse_run_config(
        fmt::format("[model]\n{}[prores]\nschedule = \"off\"\n[optimizer]\nlr = 0.001\n"
                    "[batch]\nglobal_batch_size = {}\nmicro_batch_size = {}\nseq_len = {}\n"
                    "[pipeline]\ngraphs = {}\n[precision]\ncompute = \"{}\"\n"
                    "attention = \"{}\"\n[data]\ntrain = \"none.h5\"\n"
                    "[checkpoint]\nasynchronous = false\n"
                    "[run]\nupdates = 100000\nseed = 1\ndevice = \"cuda\"\n",
                    model, num_microbatches * micro_batch_size, micro_batch_size,
                    effort.tiny ? 16 : 1024, graphs, precision, attention_of(precision, effort)),
        "benchmark", ".", {});
}

/// The largest micro-batch of 1 to 64 sequences that fits into `bytes`; 0: none.
std::int64_t fitting_micro_batch(const std::string& preset, const std::string& precision,
                                 std::size_t bytes, const Effort& effort)
{
    for (std::int64_t size = effort.tiny ? 2 : 64; size > 0; size /= 2)
        if (plan_run(config_of(preset, precision, size, effort), 1).rank_bytes(0) <= bytes)
            return size;
    return 0;
}

struct TimedUpdates {
    std::vector<double> seconds;
    double planned_bytes = 0.0, taken_bytes = 0.0;
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
    timed.planned_bytes =
        static_cast<double>(rank.plan().rank_bytes(0) + GpuStream::usual_workspace_bytes);
    timed.taken_bytes = static_cast<double>(free_before - free_gpu_bytes());
    for (const StageChunk& chunk : rank.stage().chunks()) {
        timed.graphs.num_graphs += chunk.model->held_graphs().num_graphs;
        timed.graphs.num_launches += chunk.model->held_graphs().num_launches;
    }
    return timed;
}

/// `wanted`: sequences of a micro-batch, 0: as many as fit.
nlohmann::json measure_updates(const std::string& preset, const std::string& precision,
                               std::int64_t wanted, const Ceilings& ceilings, const Effort& effort)
{
    // A tenth for what the libraries take when the first product runs, and for graphs; and cuDNN's
    // scratch memory.
    const std::size_t for_cudnn =
        effort.attention == "cudnn" && !effort.tiny ? std::size_t{768} << 20 : 0;
    const std::int64_t most = fitting_micro_batch(
        preset, precision, std::max(free_gpu_bytes() / 10 * 9, for_cudnn) - for_cudnn, effort);
    const std::int64_t micro_batch_size = wanted == 0 ? most : wanted;
    if (most == 0 || micro_batch_size > most)
        return {{"preset", preset},
                {"precision", precision},
                {"fits", false},
                {"micro_batch_size", wanted}};
    const auto config = [&](const char* graphs) {
        return config_of(preset, precision, micro_batch_size, effort, graphs);
    };
    const bool chosen = captures_graphs(config("\"auto\""));
    // Launches never dominate where layers are that large.
    const bool both = chosen || num_parameters(config("false").model) < 1'000'000'000;
    const TimedUpdates single = time_updates(config("false"), effort);
    const TimedUpdates graphs = both ? time_updates(config("true"), effort) : TimedUpdates{};
    const std::vector<double>& seconds = (chosen ? graphs : single).seconds;
    const auto tokens = static_cast<double>(config("false").batch.tokens_per_update());
    const double tflops = flops_per_token(config("false").model, config("false").batch.seq_len) *
                          tokens / median(seconds) * 1e-12;
    const double ceiling = precision == "fp32" ? ceilings.matmul_f32 : ceilings.matmul_bf16;
    constexpr double mib = 1048576.0;
    nlohmann::json row{{"preset", preset},
                       {"precision", precision},
                       {"attention", attention_of(precision, effort)},
                       {"fits", true},
                       {"micro_batch_size", micro_batch_size},
                       {"graphs", chosen},
                       {"seconds", median(seconds)},
                       {"seconds_range",
                        {*std::min_element(seconds.begin(), seconds.end()),
                         *std::max_element(seconds.begin(), seconds.end())}},
                       {"seconds_without_graphs", median(single.seconds)},
                       {"tokens_per_second", tokens / median(seconds)},
                       {"tflops", tflops},
                       {"share_of_matmul", tflops / ceiling},
                       {"planned_mib", single.planned_bytes / mib},
                       {"taken_mib", single.taken_bytes / mib},
                       {"taken_over_planned", single.taken_bytes / single.planned_bytes}};
    if (both) {
        row["seconds_with_graphs"] = median(graphs.seconds);
        row["graph_launches"] = graphs.graphs.num_launches;
        row["graph_mib"] = (graphs.taken_bytes - single.taken_bytes) / mib;
    }
    return row;
}

/// The same updates launched kernel by kernel and as graphs (pipeline.graphs).
void print_graphs(const nlohmann::json& rows)
{
    fmt::print(
        "\nforward and backward passes as CUDA graphs\n{:<15} {:>9} {:>6} {:>14} {:>14} {:>7} "
        "{:>9} {:>9} {:>7}\n",
        "model", "precision", "batch", "s without", "s with", "faster", "launches", "MiB", "auto");
    for (const auto& row : rows) {
        if (!row.contains("seconds_with_graphs"))
            continue;
        const double without = row["seconds_without_graphs"], with = row["seconds_with_graphs"];
        fmt::print("{:<15} {:>9} {:>6} {:>14.4f} {:>14.4f} {:>6.2f}x {:>9} {:>9.1f} {:>7}\n",
                   row["preset"].get<std::string>(), row["precision"].get<std::string>(),
                   row["micro_batch_size"].get<int>(), without, with, without / with,
                   row["graph_launches"].get<std::int64_t>(), row["graph_mib"].get<double>(),
                   row["graphs"].get<bool>() ? "on" : "off");
    }
}

void print_update(const nlohmann::json& row)
{
    const auto preset = row["preset"].get<std::string>(),
               precision = row["precision"].get<std::string>();
    if (!row["fits"].get<bool>()) {
        fmt::print("{:<15} {:>9} {:>6} does not fit\n", preset, precision,
                   row["micro_batch_size"].get<int>());
        return;
    }
    const auto number = [&](const char* key) { return row[key].get<double>(); };
    fmt::print("{:<15} {:>9} {:>6} {:>10.4f} {:>19} {:>11.0f} {:>9.4g} {:>9.1f}% {:>9.0f} "
               "{:>7.3f}\n",
               preset, precision, row["micro_batch_size"].get<int>(), number("seconds"),
               fmt::format("({:.4f}..{:.4f})", row["seconds_range"][0].get<double>(),
                           row["seconds_range"][1].get<double>()),
               number("tokens_per_second"), number("tflops"), 100.0 * number("share_of_matmul"),
               number("taken_mib"), number("taken_over_planned"));
    std::fflush(stdout); // into a file, too: a run may be cut off
}

} // namespace

nlohmann::json measure_models(const Models& models, const Ceilings& ceilings, const Effort& effort)
{
    fmt::print("\nwhole updates of 4 micro-batches, sequences of {} tokens; FLOPs: 6 N + 6 L d s "
               "per token\n{:<15} {:>9} {:>6} {:>10} {:>19} {:>11} {:>9} {:>10} {:>9} {:>7}\n",
               effort.tiny ? 16 : 1024, "model", "precision", "batch", "s/update", "(least..most)",
               "tokens/s", "TFLOP/s", "of product", "MiB", "of plan");
    auto rows = nlohmann::json::array();
    for (const std::string& preset : models.presets)
        for (const std::string& precision : models.precisions)
            for (const std::int64_t size : models.micro_batch_sizes) {
                rows.push_back(measure_updates(preset, precision, size, ceilings, effort));
                print_update(rows.back());
            }
    print_graphs(rows);
    return rows;
}

} // namespace sluice
