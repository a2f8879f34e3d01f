#include "benchmarks/gpu_rates.hpp"

#include "benchmarks/gpu_kernels.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/median.hpp"
#include "src/config/presets.hpp"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

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

/// How long a measurement takes, and what goes before it.
struct Rounds {
    int number = 1;
    double milliseconds = 0.0; ///< of each, about
    double warm_up_milliseconds = 0.0;
};

Rate rate_of(const Stream& stream, const KernelBenchmark& benchmark, const Rounds& rounds)
{
    KernelUnderTest test(stream);
    test.round_to_tf32(benchmark.tf32);
    benchmark.prepare(test);
    for (int i = 0; i < 2; ++i) // the choice of a product's algorithm, caches
        test.launch();
    const double once = std::max(milliseconds_of(stream, test.launch, 1), 1e-3);
    const auto launches_of = [once](double milliseconds) {
        return std::clamp(static_cast<int>(milliseconds / once), 1, 20'000);
    };
    if (rounds.warm_up_milliseconds > 0.0)
        milliseconds_of(stream, test.launch, launches_of(rounds.warm_up_milliseconds));
    std::vector<double> rates;
    const double scale = test.unit == WorkUnit::flops ? 1e-12 : 1e-9;
    const int launches = launches_of(rounds.milliseconds);
    for (int round = 0; round < rounds.number; ++round)
        rates.push_back(test.amount * scale * 1e3 / milliseconds_of(stream, test.launch, launches));
    const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
    return {test.unit, upper_median(rates), *least, *most};
}

Rounds rounds_of(const Effort& effort)
{
    return {.number = effort.rounds(), .milliseconds = effort.tiny ? 0.0 : 30.0};
}

/// Kernels at the sizes of one model.
struct KernelSet {
    std::string model;
    KernelShapes shapes;
    std::vector<KernelBenchmark> kernels;
};

KernelShapes shapes_of(const char* model, std::int64_t sequences, const Effort& effort)
{
    const Preset& preset = *find_preset(model);
    KernelShapes shapes{.sequences = sequences,
                        .positions = 1024,
                        .hidden = preset.hidden_size,
                        .intermediate = preset.intermediate_size,
                        .num_heads = preset.num_heads,
                        .vocabulary = 32000};
    if (effort.tiny)
        shapes = {.sequences = 2,
                  .positions = 16,
                  .hidden = shapes.head_dim(),
                  .intermediate = 48,
                  .num_heads = 1,
                  .vocabulary = 100};
    return shapes;
}

std::vector<KernelSet> kernel_sets(const Effort& effort)
{
    const KernelShapes wide = shapes_of("llama-1.3b", 16, effort),
                       narrow = shapes_of("llama-71m", 64, effort),
                       wide_heads = shapes_of("llama-7b", 16, effort);
    std::vector<KernelBenchmark> all = kernel_benchmarks(wide, DType::bf16);
    for (const auto& others : {tf32_benchmarks(wide), kernel_benchmarks(wide, DType::f32)})
        all.insert(all.end(), others.begin(), others.end());
    return {{"llama-1.3b", wide, std::move(all)},
            {"llama-71m", narrow, kernel_benchmarks(narrow, DType::bf16)},
            {"llama-7b", wide_heads, attention_benchmarks(wide_heads, DType::bf16)}};
}

nlohmann::json measure_kernel(const Stream& stream, const KernelBenchmark& benchmark,
                              const Ceilings& ceilings, const Effort& effort)
{
    const Rate rate = rate_of(stream, benchmark, rounds_of(effort));
    const char* unit = rate.unit == WorkUnit::bytes ? "GB/s" : "TFLOP/s";
    const std::string type = benchmark.type();
    const double share = rate.typical / (rate.unit == WorkUnit::bytes
                                             ? ceilings.copy
                                             : ceilings.matmul(type == "f32" ? "fp32" : type));
    fmt::print("{:<40} {:>5} {:>18} {:>21} {:>10.1f}%\n", benchmark.name, type,
               fmt::format("{:.4g} {}", rate.typical, unit),
               fmt::format("({:.4g}..{:.4g})", rate.least, rate.most), 100.0 * share);
    return {{"name", benchmark.name},
            {"type", type},
            {"unit", unit},
            {"rate", rate.typical},
            {"range", {rate.least, rate.most}},
            {"share_of_ceiling", share}};
}

} // namespace

Ceilings measure_ceilings(const Stream& stream, const Effort& effort)
{
    const std::int64_t bytes = effort.tiny ? 4096 : std::int64_t{1} << 30;
    const std::int64_t large = effort.tiny ? 32 : 8192, small = effort.tiny ? 32 : 4096;
    const auto best = [&](const KernelBenchmark& benchmark) {
        return rate_of(stream, benchmark, rounds_of(effort)).most;
    };
    Ceilings found{.copy = best(copy_ceiling(bytes)),
                   .matmul_f32 = best(matmul_ceiling(small, DType::f32)),
                   .matmul_tf32 = best(matmul_ceiling(large, DType::f32, true)),
                   .matmul_bf16 = best(matmul_ceiling(large, DType::bf16))};
    // At its power limit a GPU lowers its clock within a second.
    const Rounds warm{.number = effort.rounds(),
                      .milliseconds = effort.tiny ? 0.0 : 200.0,
                      .warm_up_milliseconds = effort.tiny ? 0.0 : 2000.0};
    found.matmul_bf16_sustained = rate_of(stream, matmul_ceiling(large, DType::bf16), warm).typical;
    fmt::print("ceilings: copy {:.4g} GB/s; products {:.4g} TFLOP/s bf16 ({:.4g} sustained) and "
               "{:.4g} TFLOP/s tf32 ({}^3), {:.4g} TFLOP/s f32 ({}^3)\n\n",
               found.copy, found.matmul_bf16, found.matmul_bf16_sustained, found.matmul_tf32, large,
               found.matmul_f32, small);
    return found;
}

nlohmann::json json_of(const Ceilings& ceilings)
{
    return {{"copy_gb_per_second", ceilings.copy},
            {"matmul_bf16_tflops", ceilings.matmul_bf16},
            {"matmul_bf16_sustained_tflops", ceilings.matmul_bf16_sustained},
            {"matmul_tf32_tflops", ceilings.matmul_tf32},
            {"matmul_f32_tflops", ceilings.matmul_f32}};
}

bool undisturbed(const Ceilings& before, const Ceilings& after)
{
    const auto near = [](double x, double y) { return std::abs(x - y) <= 0.1 * std::max(x, y); };
    // Not the best rate of products, which a GPU has only while it is cool.
    return near(before.copy, after.copy) &&
           near(before.matmul_bf16_sustained, after.matmul_bf16_sustained);
}

void measure_kernels(const Stream& stream, const Ceilings& ceilings, const Effort& effort,
                     const std::function<void(const nlohmann::json&)>& keep)
{
    auto rows = nlohmann::json::array();
    for (const KernelSet& set : kernel_sets(effort)) {
        fmt::print("kernels at {} tokens, {} channels, heads of {} ({})\n{:<40} {:>5} {:>18} "
                   "{:>21} {:>11}\n",
                   set.shapes.num_tokens(), set.shapes.hidden, set.shapes.head_dim(), set.model, "",
                   "type", "rate", "(least..most)", "of ceiling");
        for (const KernelBenchmark& benchmark : set.kernels) {
            nlohmann::json row = measure_kernel(stream, benchmark, ceilings, effort);
            row["shapes"] = set.model;
            rows.push_back(std::move(row));
            keep(rows);
        }
        fmt::print("\n");
    }
}

} // namespace sluice
