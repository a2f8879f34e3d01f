// Kernels and whole updates on one GPU against the rates of a copy and of a square product that are
// measured in the same run.
//
// usage: sluice_gpu_benchmark [--json FILE] [--preset NAME]... [--precision NAME]...
//                             [--micro-batch SEQUENCES]... [--attention own|cudnn]
//                             [--skip-kernels] [--tiny]
//
// Prints tables; ratios hold, absolute rates are this GPU's. Exit code 77 where there is no GPU.
// benchmarks/gpu.py runs it, and the same models in PyTorch beside it.
#include "benchmarks/gpu_kernels.hpp"
#include "benchmarks/rank_under_test.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/logging.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using namespace sluice;

constexpr int skipped = 77;

struct Effort {
    bool tiny = false; ///< to see that everything runs, not how fast
    int wanted_rounds = 7;
    int rounds() const { return tiny ? 1 : wanted_rounds; }
    std::string attention = "own"; ///< precision.attention of whole updates
    double milliseconds_per_round() const { return tiny ? 0.0 : 30.0; }
};

struct Rate {
    WorkUnit unit = WorkUnit::bytes;
    double typical = 0.0, least = 0.0, most = 0.0; ///< per second: GB or TFLOP
};

/// By events on the stream, `launches` at a time, so that the host's launching hides behind work.
double milliseconds_of(const Stream& stream, const std::function<void()>& launch, int launches)
{
    GpuEvent begun, done;
    begun.record(stream);
    for (int i = 0; i < launches; ++i)
        launch();
    done.record(stream);
    done.wait();
    return done.milliseconds_since(begun) / launches;
}

Rate rate_of(const Stream& stream, const KernelBenchmark& benchmark, const Effort& effort)
{
    KernelUnderTest test(stream);
    benchmark.prepare(test);
    for (int i = 0; i < 2; ++i) // warm: the choice of a product's algorithm, caches, clocks
        test.launch();
    const double once = milliseconds_of(stream, test.launch, 1);
    const int launches = std::clamp(
        static_cast<int>(effort.milliseconds_per_round() / std::max(once, 1e-3)), 1, 2000);
    std::vector<double> rates;
    const double scale = test.unit == WorkUnit::flops ? 1e-12 : 1e-9;
    for (int round = 0; round < effort.rounds(); ++round)
        rates.push_back(test.amount * scale * 1e3 / milliseconds_of(stream, test.launch, launches));
    const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
    return {test.unit, median(rates), *least, *most};
}

struct Ceilings {
    double copy = 0.0;                          ///< GB/s
    double matmul_f32 = 0.0, matmul_bf16 = 0.0; ///< TFLOP/s

    double of(WorkUnit unit, DType dtype) const
    {
        return unit == WorkUnit::bytes ? copy : dtype == DType::bf16 ? matmul_bf16 : matmul_f32;
    }
};

Ceilings measure_ceilings(const Stream& stream, const Effort& effort)
{
    const std::int64_t bytes = effort.tiny ? 4096 : std::int64_t{1} << 30;
    const std::int64_t large = effort.tiny ? 32 : 8192, small = effort.tiny ? 32 : 4096;
    Ceilings found{.copy = rate_of(stream, copy_ceiling(bytes), effort).most,
                   .matmul_f32 = rate_of(stream, matmul_ceiling(small, DType::f32), effort).most,
                   .matmul_bf16 = rate_of(stream, matmul_ceiling(large, DType::bf16), effort).most};
    fmt::print("ceilings: copy {:.4g} GB/s; products {:.4g} TFLOP/s bf16 ({}^3), {:.4g} TFLOP/s "
               "f32 ({}^3)\n\n",
               found.copy, found.matmul_bf16, large, found.matmul_f32, small);
    return found;
}

nlohmann::json measure_kernels(const Stream& stream, const Ceilings& ceilings, const Effort& effort)
{
    const KernelShapes shapes = effort.tiny ? KernelShapes{.sequences = 2,
                                                           .positions = 16,
                                                           .hidden = 64,
                                                           .intermediate = 48,
                                                           .num_heads = 1,
                                                           .vocabulary = 100}
                                            : KernelShapes{};
    fmt::print("kernels at {} tokens, {} channels\n{:<40} {:>5} {:>18} {:>21} {:>11}\n",
               shapes.num_tokens(), shapes.hidden, "", "type", "rate", "(least..most)",
               "of ceiling");
    auto rows = nlohmann::json::array();
    for (const DType dtype : {DType::bf16, DType::f32})
        for (const KernelBenchmark& benchmark : kernel_benchmarks(shapes, dtype)) {
            const Rate rate = rate_of(stream, benchmark, effort);
            const char* name = rate.unit == WorkUnit::bytes ? "GB/s" : "TFLOP/s";
            const double share = rate.typical / ceilings.of(rate.unit, dtype);
            fmt::print("{:<40} {:>5} {:>18} {:>21} {:>10.1f}%\n", benchmark.name, name_of(dtype),
                       fmt::format("{:.4g} {}", rate.typical, name),
                       fmt::format("({:.4g}..{:.4g})", rate.least, rate.most), 100.0 * share);
            rows.push_back({{"name", benchmark.name},
                            {"type", std::string(name_of(dtype))},
                            {"unit", name},
                            {"rate", rate.typical},
                            {"range", {rate.least, rate.most}},
                            {"share_of_ceiling", share}});
        }
    return rows;
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
                    effort.tiny ? 16 : 1024, graphs, precision,
                    precision == "fp32" ? "own" : effort.attention),
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
    const std::int64_t most =
        fitting_micro_batch(preset, precision, free_gpu_bytes() / 10 * 9 - for_cudnn, effort);
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
                       {"attention", effort.attention},
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

struct Models {
    std::vector<std::string> presets{"llama-71m",  "llama-71m-48", "llama-71m-120", "llama-130m",
                                     "llama-350m", "llama-1.3b",   "llama-7b"};
    std::vector<std::string> precisions{"bf16"};
    std::vector<std::int64_t> micro_batch_sizes{0}; ///< 0: the largest that fits
};

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

} // namespace

int main(int argc, char** argv)
{
    CLI::App app{"Kernels and whole updates on a GPU against ceilings of the same run"};
    Models models;
    std::string json_file;
    Effort effort;
    bool skip_kernels = false;
    app.add_option("--preset", models.presets, "Models whose updates are timed")
        ->capture_default_str();
    app.add_option("--precision", models.precisions, "precision.compute of the updates")
        ->capture_default_str();
    app.add_option("--micro-batch", models.micro_batch_sizes,
                   "Sequences of a micro-batch; 0: as many as fit, up to 64")
        ->capture_default_str();
    app.add_option("--rounds", effort.wanted_rounds, "Measurements whose median is printed")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--json", json_file, "Also write the figures to this file");
    app.add_option("--attention", effort.attention,
                   "precision.attention of the updates: own, cudnn")
        ->capture_default_str();
    app.add_flag("--skip-kernels", skip_kernels, "Whole updates only");
    app.add_flag("--tiny", effort.tiny, "Sizes that show that it runs, and nothing about speed");
    CLI11_PARSE(app, argc, argv);
    if (num_gpus() == 0) {
        fmt::print("skipped: {}\n", why_no_gpu());
        return skipped;
    }
    try {
        const GpuInfo info = gpu_info(0);
        fmt::print("{}, compute capability {}.{}\n", info.name, info.major, info.minor);
        nlohmann::json out{{"gpu", info.name}, {"tiny", effort.tiny}};
        Ceilings ceilings;
        {
            const GpuStream stream(use_gpu(0));
            ceilings = measure_ceilings(stream.stream(), effort);
            if (!skip_kernels)
                out["kernels"] = measure_kernels(stream.stream(), ceilings, effort);
        }
        out["ceilings"] = {{"copy_gb_per_second", ceilings.copy},
                           {"matmul_bf16_tflops", ceilings.matmul_bf16},
                           {"matmul_f32_tflops", ceilings.matmul_f32}};
        out["updates"] = measure_models(models, ceilings, effort);
        if (!json_file.empty())
            std::ofstream(json_file) << out.dump(1) << '\n';
        return 0;
    } catch (const std::exception& error) {
        fmt::print(stderr, "sluice_gpu_benchmark: {}\n", error.what());
        return 1;
    }
}
