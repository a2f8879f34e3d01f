// Kernels and whole updates on one GPU against the rates of a copy and of a square product that are
// measured in the same run.
//
// usage: sluice_gpu_benchmark [--json FILE] [--preset NAME]... [--precision NAME]...
//                             [--micro-batch SEQUENCES]... [--attention own|cudnn]
//                             [--rounds N] [--skip-kernels] [--tiny]
//
// Prints tables; ratios hold, absolute rates are this GPU's. Exit code 77 where there is no GPU.
// benchmarks/gpu.py runs it, and the same models in PyTorch beside it.
#include "benchmarks/gpu_kernels.hpp"
#include "benchmarks/gpu_updates.hpp"
#include "benchmarks/rank_under_test.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/logging.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using namespace sluice;

constexpr int skipped = 77;

struct Rate {
    WorkUnit unit = WorkUnit::bytes;
    double typical = 0.0, least = 0.0, most = 0.0; ///< per second: GB or TFLOP
};

/// By events on the stream, `launches` at a time, so that the host's launching hides behind work.
double milliseconds_of(const Stream& stream, const std::function<void()>& launch, int launches)
{
    GpuEvent begun(EventTiming::enabled), done(EventTiming::enabled);
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
    test.round_to_tf32(benchmark.tf32);
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

Ceilings measure_ceilings(const Stream& stream, const Effort& effort)
{
    const std::int64_t bytes = effort.tiny ? 4096 : std::int64_t{1} << 30;
    const std::int64_t large = effort.tiny ? 32 : 8192, small = effort.tiny ? 32 : 4096;
    Ceilings found{.copy = rate_of(stream, copy_ceiling(bytes), effort).most,
                   .matmul_f32 = rate_of(stream, matmul_ceiling(small, DType::f32), effort).most,
                   .matmul_tf32 =
                       rate_of(stream, matmul_ceiling(large, DType::f32, true), effort).most,
                   .matmul_bf16 = rate_of(stream, matmul_ceiling(large, DType::bf16), effort).most};
    fmt::print("ceilings: copy {:.4g} GB/s; products {:.4g} TFLOP/s bf16 and {:.4g} TFLOP/s tf32 "
               "({}^3), {:.4g} TFLOP/s f32 ({}^3)\n\n",
               found.copy, found.matmul_bf16, found.matmul_tf32, large, found.matmul_f32, small);
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
    std::vector<KernelBenchmark> all = kernel_benchmarks(shapes, DType::bf16);
    for (const auto& others : {tf32_benchmarks(shapes), kernel_benchmarks(shapes, DType::f32)})
        all.insert(all.end(), others.begin(), others.end());
    for (const KernelBenchmark& benchmark : all) {
        const Rate rate = rate_of(stream, benchmark, effort);
        const char* unit = rate.unit == WorkUnit::bytes ? "GB/s" : "TFLOP/s";
        const std::string type = benchmark.type();
        const double share = rate.typical / (rate.unit == WorkUnit::bytes
                                                 ? ceilings.copy
                                                 : ceilings.matmul(type == "f32" ? "fp32" : type));
        fmt::print("{:<40} {:>5} {:>18} {:>21} {:>10.1f}%\n", benchmark.name, type,
                   fmt::format("{:.4g} {}", rate.typical, unit),
                   fmt::format("({:.4g}..{:.4g})", rate.least, rate.most), 100.0 * share);
        rows.push_back({{"name", benchmark.name},
                        {"type", type},
                        {"unit", unit},
                        {"rate", rate.typical},
                        {"range", {rate.least, rate.most}},
                        {"share_of_ceiling", share}});
    }
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
        const auto keep = [&] {
            if (!json_file.empty())
                std::ofstream(json_file) << out.dump(1) << '\n';
        };
        Ceilings ceilings;
        {
            const GpuStream stream(use_gpu(0));
            ceilings = measure_ceilings(stream.stream(), effort);
            out["ceilings"] = {{"copy_gb_per_second", ceilings.copy},
                               {"matmul_bf16_tflops", ceilings.matmul_bf16},
                               {"matmul_tf32_tflops", ceilings.matmul_tf32},
                               {"matmul_f32_tflops", ceilings.matmul_f32}};
            if (!skip_kernels)
                out["kernels"] = measure_kernels(stream.stream(), ceilings, effort);
        }
        const auto keep_updates = [&](const nlohmann::json& rows) {
            out["updates"] = rows;
            keep();
        };
        keep_updates(measure_models(models, ceilings, effort, keep_updates));
        for (const auto& row : out["updates"])
            if (row.contains("failed"))
                return 1;
        return 0;
    } catch (const std::exception& error) {
        fmt::print(stderr, "sluice_gpu_benchmark: {}\n", error.what());
        return 1;
    }
}
