// Whole updates on this machine's cores against the best sgemm rate measured in the same run.
//
// usage: sluice_cpu_benchmark [--json FILE] [--preset NAME]... [--set SECTION.KEY=VALUE]...
// [--repeat N]
//
// Ratios hold; absolute rates are this machine's. FLOPs are 6 N + 6 L d s per token (N without the
// embedding, causal attention).

#include "benchmarks/rank_under_test.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "layers/kernels/matmul.hpp"
#include "src/config/run_key.hpp"
#include "src/process/process_memory.hpp"
#include "src/process/threads.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>

namespace {

using namespace sluice;
/// Best rate of one square product on random data, the ceiling everything else is held to.
double best_sgemm_gflops()
{
    double best = 0.0;
    const RandomStream random(1, "benchmark");
    for (const std::int64_t n : {1024, 2048}) {
        std::vector<float> a(n * n), b(n * n), c(n * n);
        for (std::int64_t i = 0; i < n * n; ++i) {
            a[i] = static_cast<float>(random.uniform(2 * i) - 0.5);
            b[i] = static_cast<float>(random.uniform(2 * i + 1) - 0.5);
        }
        for (int i = 0; i < 16; ++i) {
            const double seconds = seconds_of([&] {
                kernels::launch(Stream{}, kernels::Matmul{.a = view_of(a.data(), {n, n}),
                                                          .b = view_of(b.data(), {n, n}),
                                                          .out = view_of(c.data(), {n, n})});
            });
            best = std::max(best, 2.0 * static_cast<double>(n * n * n) / seconds * 1e-9);
        }
    }
    return best;
}

nlohmann::json run_updates(const std::string& preset, const std::vector<std::string>& overrides,
                           int repeat, double& ceiling)
{
    constexpr int num_microbatches = 4;
    RunConfig config = parse_run_config(
        fmt::format("[model]\npreset = \"{}\"\n[prores]\nschedule = \"off\"\n"
                    "[batch]\nglobal_batch_size = {}\nmicro_batch_size = 1\nseq_len = 1024\n"
                    "[data]\ntrain = \"none.h5\"\n[run]\nupdates = 100000\nseed = 1\n",
                    preset, num_microbatches),
        "benchmark", ".", overrides);
    settle_precision(config);
    const auto transport = make_in_process_transport();
    RankUnderTest rank(config, *transport);
    const std::int64_t tokens_per_update = config.batch.tokens_per_update();

    std::vector<double> compute, whole;
    for (int i = 0; i <= repeat; ++i) {
        const RankUnderTest::Seconds seconds = rank.update(i + 1);
        if (i > 0) { // the first one warms up
            compute.push_back(seconds.forward_backward);
            whole.push_back(seconds.update);
        }
    }
    const double flops = flops_per_token(config.model, config.batch.seq_len) *
                         static_cast<double>(tokens_per_update);
    const double seconds = upper_median(whole);
    // Machines are shared and their speed drifts: the ceiling is the best seen before or after.
    ceiling = std::max(ceiling, best_sgemm_gflops());
    return {{"preset", preset},
            {"precision", name_of(config.precision)},
            {"tokens_per_update", tokens_per_update},
            {"seconds", seconds},
            {"seconds_min", *std::min_element(whole.begin(), whole.end())},
            {"seconds_max", *std::max_element(whole.begin(), whole.end())},
            {"forward_backward_seconds", upper_median(compute)},
            {"tokens_per_second", static_cast<double>(tokens_per_update) / seconds},
            {"gflops", flops / seconds * 1e-9},
            {"share_of_sgemm", flops / seconds * 1e-9 / ceiling},
            {"planned_mib", (rank.plan().rank_bytes(0) + program_bytes) / 1048576.0},
            {"peak_mib", peak_resident_bytes() / 1048576.0}};
}

} // namespace

int main(int argc, char** argv)
{
    CLI::App app{"Whole updates against the best sgemm rate of the same run"};
    std::vector<std::string> presets{"llama-71m"}, overrides;
    std::string json_file;
    int repeat = 5;
    app.add_option("--preset", presets, "Models to run")->capture_default_str();
    app.add_option("--set", overrides, "Key of the run file, like precision.compute=bf16");
    app.add_option("--repeat", repeat, "Timed updates; the median counts")->capture_default_str();
    app.add_option("--json", json_file, "Also write the figures to this file");
    CLI11_PARSE(app, argc, argv);

    set_num_threads(threads_for_this_rank(0));
    double ceiling = best_sgemm_gflops();
    fmt::print("{} thread(s), best sgemm {:.1f} GFLOP/s before the updates\n\n", num_threads(),
               ceiling);
    fmt::print("{:<14} {:>9} {:>9} {:>19} {:>10} {:>10} {:>10} {:>10}\n", "model", "computes",
               "s/update", "(min..max)", "tokens/s", "GFLOP/s", "of sgemm", "optimizer");
    nlohmann::json out{{"threads", num_threads()}};
    for (const std::string& preset : presets) {
        const auto row = run_updates(preset, overrides, repeat, ceiling);
        fmt::print("{:<14} {:>9} {:>9.3f} {:>19} {:>10.1f} {:>10.1f} {:>9.1f}% {:>9.1f}%\n", preset,
                   row["precision"].get<std::string>(), row["seconds"].get<double>(),
                   fmt::format("({:.3f}..{:.3f})", row["seconds_min"].get<double>(),
                               row["seconds_max"].get<double>()),
                   row["tokens_per_second"].get<double>(), row["gflops"].get<double>(),
                   100.0 * row["share_of_sgemm"].get<double>(),
                   100.0 * (1.0 - row["forward_backward_seconds"].get<double>() /
                                      row["seconds"].get<double>()));
        out["updates"].push_back(row);
    }
    out["sgemm_gflops"] = ceiling;
    fmt::print("\nbest sgemm of this run {:.1f} GFLOP/s\n", ceiling);
    // The process's largest resident set grows with each model: only the last row's can be
    // compared.
    const auto& last = out["updates"].back();
    fmt::print("memory of {}: planned {:.0f} MiB, peak {:.0f} MiB\n",
               last["preset"].get<std::string>(), last["planned_mib"].get<double>(),
               last["peak_mib"].get<double>());
    if (!json_file.empty())
        std::ofstream(json_file) << out.dump(2) << '\n';
    return 0;
}
