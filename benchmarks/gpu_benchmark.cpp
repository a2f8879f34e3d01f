// Kernels and whole updates on one GPU against the rates of a copy and of a square product that are
// measured in the same run.
//
// usage: sluice_gpu_benchmark [--json FILE] [--preset NAME]... [--precision NAME]...
//                             [--micro-batch SEQUENCES]... [--attention own|cudnn]
//                             [--rounds N] [--skip-kernels] [--tiny]
//
// Prints tables; ratios hold, absolute rates are this GPU's. Exit code 77 where there is no GPU.
// benchmarks/gpu.py runs it, and the same models in PyTorch beside it.
#include "benchmarks/gpu_rates.hpp"
#include "benchmarks/gpu_updates.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

namespace {

using namespace sluice;

constexpr int skipped = 77;

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
