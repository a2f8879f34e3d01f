// One schedule on the ranks of this MPI job, against the bound that its idle time and partition
// set.
//
// usage: mpirun -n P sluice_pipeline_benchmark --set pipeline.schedule=NAME [...] [--repeat N]
//
// Prints one line of JSON from rank 0. benchmarks/pipeline.py runs the cases and prints the table.
//
// Each rank first times its own chunks' forward, input gradient and weight gradient while the other
// ranks do the same, so that shared caches and memory count as in the run. The bound is the time
// that the simulator gives for these costs with free transfers: fill, drain and imbalance, nothing
// else. With more ranks than cores, chunks are timed by as many ranks at a time as there are cores,
// and the bound is at least all work divided by the cores.

#include "benchmarks/rank_under_test.hpp"
#include "core/parallel.hpp"
#include "pipeline/simulator.hpp"
#include "src/train/process_memory.hpp"
#include "src/train/threads.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

namespace {

using namespace sluice;
/// A model whose parts weigh 16 decoder layers: 15 layers, and a head as heavy as one. It balances
/// on 2, 4, 8 and 16 chunks.
constexpr const char* run_text = R"(
[model]
vocab_size = 6400
hidden_size = 512
intermediate_size = 1368
num_layers = 15
num_heads = 8
max_seq_len = 128
[prores]
schedule = "off"
[optimizer]
lr = 1e-4
[batch]
global_batch_size = 16
micro_batch_size = 1
seq_len = 128
[data]
train = "none.h5"
[run]
updates = 100000
seed = 1
threads_per_rank = 1
)";

void randomize(const TensorView& tensor, std::uint64_t seed)
{
    const RandomStream random(seed, "benchmark");
    std::uint64_t index = 0;
    for (float& value : tensor.elements<float>())
        value = static_cast<float>(random.uniform(index++) - 0.5);
}

class Case {
public:
    Case(const RunConfig& config, Transport& transport)
        : transport_(transport), rank_(config, transport),
          num_cores_(static_cast<int>(std::thread::hardware_concurrency()))
    {
    }

    nlohmann::json run(int repeat)
    {
        const std::vector<ChunkCosts> costs = measure_costs(repeat);
        std::vector<double> seconds;
        for (int i = 0; i <= repeat; ++i) { // the first one warms up
            const double one = rank_.update(i + 1).forward_backward;
            if (i > 0)
                seconds.push_back(one);
        }
        std::vector<double> resident(static_cast<std::size_t>(transport_.num_ranks()), 0.0);
        resident[static_cast<std::size_t>(transport_.rank())] =
            static_cast<double>(peak_resident_bytes());
        transport_.sum(resident);
        return report(costs, seconds, resident);
    }

private:
    /// Medians, the same on every rank.
    std::vector<ChunkCosts> measure_costs(int repeat)
    {
        std::vector<double> flat(static_cast<std::size_t>(3 * plan().program.num_chunks), 0.0);
        // Fewer repetitions would catch ranks that have not started yet.
        const int rounds = std::max(5, 2 * repeat);
        const int waves = (transport_.num_ranks() + num_cores_ - 1) / num_cores_;
        for (int wave = 0; wave < waves; ++wave) {
            transport_.barrier();
            if (transport_.rank() / num_cores_ == wave)
                for (StageChunk& chunk : rank_.stage().chunks())
                    measure(chunk, rounds, std::span(flat).subspan(3 * chunk.index, 3));
            transport_.barrier();
        }
        transport_.sum(flat);
        std::vector<ChunkCosts> costs;
        for (std::size_t i = 0; i < flat.size(); i += 3)
            costs.push_back({flat[i], flat[i + 1], flat[i + 2], 0.0});
        return costs;
    }

    void measure(StageChunk& chunk, int rounds, std::span<double> into)
    {
        ModelChunk& model = *chunk.model;
        const LayerRange& range = model.options().range;
        const bool split = model.options().split == BackwardSplit::split;
        const auto alphas = chunk.warmup.alphas();
        std::vector<double> forward, input, weight;
        for (int i = 0; i < rounds; ++i) {
            if (range.embedding)
                rank_.tokens().inputs(i, model.input_tokens(0));
            else
                randomize(model.input(0), 7);
            if (range.head)
                rank_.tokens().targets(i, model.target_tokens(0));
            else
                randomize(model.output_gradient(0), 8);
            forward.push_back(seconds_of([&] { model.forward(0, alphas); }));
            if (split) {
                input.push_back(
                    seconds_of([&] { model.backward_input(0, 0, alphas, rank_.loss_scale()); }));
                weight.push_back(seconds_of([&] { model.backward_weight(0, 0, alphas); }));
            } else {
                input.push_back(
                    seconds_of([&] { model.backward(0, 0, alphas, rank_.loss_scale()); }));
                weight.push_back(0.0);
            }
        }
        into[0] = median(forward);
        into[1] = median(input);
        into[2] = median(weight);
    }

    nlohmann::json report(const std::vector<ChunkCosts>& costs, std::vector<double> seconds,
                          const std::vector<double>& resident) const
    {
        const Simulation simulation = simulate(plan().program, costs);
        const int num_ranks = transport_.num_ranks();
        double work = 0.0, heaviest = 0.0;
        for (const double busy : simulation.busy) {
            work += busy;
            heaviest = std::max(heaviest, busy);
        }
        const double bound =
            std::max(simulation.total, work / static_cast<double>(std::min(num_ranks, num_cores_)));
        std::sort(seconds.begin(), seconds.end());
        nlohmann::json memory = nlohmann::json::array(), activations = nlohmann::json::array();
        for (int rank = 0; rank < num_ranks; ++rank) {
            memory.push_back(plan().rank_bytes(rank) + program_bytes);
            activations.push_back(plan().rank_memory(rank).activation_bytes);
        }
        const double typical = seconds[seconds.size() / 2];
        return {{"schedule", plan().schedule_name},
                {"num_ranks", num_ranks},
                {"num_cores", num_cores_},
                {"num_chunks", plan().program.num_chunks},
                {"num_microbatches", plan().program.num_microbatches},
                {"seconds", typical},
                {"seconds_range", {seconds.front(), seconds.back()}},
                {"tokens_per_second",
                 static_cast<double>(rank_.config().batch.tokens_per_update()) / typical},
                {"bound_seconds", bound},
                {"share_of_bound", bound / typical},
                {"share_of_bound_range", {bound / seconds.back(), bound / seconds.front()}},
                {"idle_bound", heaviest / simulation.total},
                {"partition_bound", work / (heaviest * num_ranks)},
                {"predicted_seconds_from_flops", predicted_from_flops(work)},
                {"planned_bytes", memory},
                {"resident_bytes", resident},
                {"planned_activation_bytes", activations}};
    }

    /// What the plan alone says, scaled to the measured total of work.
    double predicted_from_flops(double work) const
    {
        const Simulation simulation =
            simulate(plan().program, unit_costs(plan().partition, plan().costs));
        double units = 0.0;
        for (const double busy : simulation.busy)
            units += busy;
        const double by_cores = units / std::min(transport_.num_ranks(), num_cores_);
        return std::max(simulation.total, by_cores) * work / units;
    }

    const RunPlan& plan() const { return rank_.plan(); }

    Transport& transport_;
    RankUnderTest rank_;
    int num_cores_;
};

} // namespace

int main(int argc, char** argv)
{
    CLI::App app("One schedule against the bound of its idle time and partition");
    std::vector<std::string> overrides;
    int repeat = 3;
    app.add_option("--set", overrides, "section.key=value")
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false);
    app.add_option("--repeat", repeat, "Updates timed")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        const RunConfig config = parse_run_config(run_text, "benchmark", ".", overrides);
        const auto transport =
            launched_as().by_launcher ? make_mpi_transport() : make_in_process_transport();
        set_num_threads(config.run.threads_per_rank);
        Case one(config, *transport);
        const nlohmann::json result = one.run(repeat);
        if (transport->rank() == 0)
            std::cout << result.dump() << std::endl;
    } catch (const std::exception& error) {
        std::cerr << "sluice_pipeline_benchmark: " << error.what() << "\n";
        return 2;
    }
    return 0;
}
