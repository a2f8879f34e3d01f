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
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
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
    return {test.unit, upper_median(rates), *least, *most};
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

nlohmann::json json_of(const Ceilings& ceilings)
{
    return {{"copy_gb_per_second", ceilings.copy},
            {"matmul_bf16_tflops", ceilings.matmul_bf16},
            {"matmul_tf32_tflops", ceilings.matmul_tf32},
            {"matmul_f32_tflops", ceilings.matmul_f32}};
}

/// Whether they are what they were before everything else: nobody else has used the GPU since.
bool undisturbed(const Ceilings& before, const Ceilings& after)
{
    const auto near = [](double x, double y) { return std::abs(x - y) <= 0.1 * std::max(x, y); };
    return near(before.copy, after.copy) && near(before.matmul_bf16, after.matmul_bf16);
}

/// All rows so far go to `keep` after each.
void measure_kernels(const Stream& stream, const Ceilings& ceilings, const Effort& effort,
                     const std::function<void(const nlohmann::json&)>& keep)
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
        keep(rows);
    }
}

struct Wanted {
    Models models;
    Effort effort;
    bool kernels = true;
    std::string json_file;
};

/// Figures so far, in a file that is replaced whole: a run may be cut off at any time.
class Record {
public:
    explicit Record(std::string file) : file_(std::move(file)) {}

    void set(const char* name, const nlohmann::json& value)
    {
        figures_[name] = value;
        if (file_.empty())
            return;
        const std::string next = file_ + ".next";
        std::ofstream(next) << figures_.dump(1) << '\n';
        std::filesystem::rename(next, file_);
    }
    std::function<void(const nlohmann::json&)> setter(const char* name)
    {
        return [this, name](const nlohmann::json& value) { set(name, value); };
    }

private:
    std::string file_;
    nlohmann::json figures_;
};

/// Whether nothing failed.
bool measure(const Wanted& wanted)
{
    const GpuInfo info = gpu_info(0);
    fmt::print("{}, compute capability {}.{}\n", info.name, info.major, info.minor);
    Record record(wanted.json_file);
    record.set("gpu", info.name);
    record.set("tiny", wanted.effort.tiny);
    Ceilings ceilings;
    {
        const GpuStream stream(use_gpu(0));
        ceilings = measure_ceilings(stream.stream(), wanted.effort);
        record.set("ceilings", json_of(ceilings));
        if (wanted.kernels)
            measure_kernels(stream.stream(), ceilings, wanted.effort, record.setter("kernels"));
    }
    const nlohmann::json updates =
        measure_models(wanted.models, ceilings, wanted.effort, record.setter("updates"));
    record.set("updates", updates);
    const GpuStream stream(use_gpu(0));
    const Ceilings after = measure_ceilings(stream.stream(), wanted.effort);
    record.set("ceilings_afterwards", json_of(after));
    record.set("undisturbed", undisturbed(ceilings, after));
    if (!undisturbed(ceilings, after))
        fmt::print("DISTURBED: the ceilings moved by more than a tenth, and shares of them mean "
                   "little\n");
    return std::none_of(updates.begin(), updates.end(),
                        [](const auto& row) { return row.contains("failed"); });
}

} // namespace

int main(int argc, char** argv)
{
    CLI::App app{"Kernels and whole updates on a GPU against ceilings of the same run"};
    Wanted wanted;
    bool skip_kernels = false;
    app.add_option("--preset", wanted.models.presets, "Models whose updates are timed")
        ->capture_default_str();
    app.add_option("--precision", wanted.models.precisions, "precision.compute of the updates")
        ->capture_default_str();
    app.add_option("--micro-batch", wanted.models.micro_batch_sizes,
                   "Sequences of a micro-batch; 0: as many as fit, up to 64")
        ->capture_default_str();
    app.add_option("--rounds", wanted.effort.wanted_rounds, "Measurements whose median is printed")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_option("--json", wanted.json_file, "Also write the figures to this file");
    app.add_option("--attention", wanted.effort.attention,
                   "precision.attention of the updates: own, cudnn")
        ->capture_default_str();
    app.add_flag("--skip-kernels", skip_kernels, "Whole updates only");
    app.add_flag("--tiny", wanted.effort.tiny,
                 "Sizes that show that it runs, and nothing about speed");
    CLI11_PARSE(app, argc, argv);
    wanted.kernels = !skip_kernels;
    std::setvbuf(stdout, nullptr, _IOLBF, 0); // so that a run that is cut off has said what it had
    if (num_gpus() == 0) {
        fmt::print("skipped: {}\n", why_no_gpu());
        return skipped;
    }
    try {
        return measure(wanted) ? 0 : 1;
    } catch (const std::exception& error) {
        fmt::print(stderr, "sluice_gpu_benchmark: {}\n", error.what());
        return 1;
    }
}
