// One schedule on the ranks of this MPI job, against the bound that its idle time and partition
// set.
//
// usage: mpirun -n P sluice_pipeline_benchmark --set pipeline.schedule=NAME [...] [--repeat N]
//                                              [--costs FILE]
//        sluice_pipeline_benchmark --measure-costs FILE
//
// Prints one line of JSON from rank 0. benchmarks/pipeline.py runs the cases and prints the table.
// What the plan predicts for a schedule comes from costs that were measured before, as in
// `sluice plan --costs measure`, the same for all schedules; without them, from FLOPs.
//
// Every action is stamped. The bound is the time that the simulator gives when each chunk's
// forward, input gradient and weight gradient take what they took in these very updates, with free
// transfers: fill, drain and imbalance, nothing else. What is missing to it went into messages,
// waiting for them, and unevenness. With more ranks than cores actions count processor time, and
// the bound is that of ranks which take equal turns on the cores.

#include "benchmarks/rank_under_test.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"
#include "pipeline/shared_cores.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/cost_file.hpp"
#include "src/process/process_memory.hpp"
#include "src/process/threads.hpp"
#include "src/train/measure_costs.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
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

/// Nanoseconds of processor time of this thread.
std::int64_t thread_cpu_ns()
{
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

class Case {
public:
    Case(const RunConfig& config, Transport& transport, CostModel planned)
        : transport_(transport), rank_(config, transport), planned_(std::move(planned)),
          num_cores_(static_cast<int>(std::thread::hardware_concurrency()))
    {
    }

    nlohmann::json run(int repeat)
    {
        rank_.update(1); // warms up
        // Where ranks share cores, the time in which others had the core is not the action's.
        const bool shared = transport_.num_ranks() > num_cores_;
        ActionRecorder recorder(20 * program().actions[this_rank()].size(),
                                shared ? thread_cpu_ns : steady_now_ns);
        std::vector<double> seconds;
        std::vector<double> time(3 * num_chunks(), 0.0), count(time);
        for (int i = 0; i < repeat; ++i) {
            recorder.start();
            rank_.executor().record_into(&recorder);
            seconds.push_back(rank_.update(i + 2).forward_backward);
            rank_.executor().record_into(nullptr);
            recorder.stop();
            add_up(recorder, time, count);
        }
        transport_.sum(time);
        transport_.sum(count);
        std::vector<double> resident(static_cast<std::size_t>(transport_.num_ranks()), 0.0);
        resident[this_rank()] = static_cast<double>(peak_resident_bytes());
        transport_.sum(resident);
        return report(costs_from(time, count), seconds, resident);
    }

private:
    enum Part : std::size_t { forward, input, weight };

    std::size_t this_rank() const { return static_cast<std::size_t>(transport_.rank()); }
    const Schedule& program() const { return plan().program; }
    std::size_t num_chunks() const { return static_cast<std::size_t>(program().num_chunks); }

    /// Seconds of computing and numbers of actions, [3 * chunk + part]. A whole backward pass
    /// counts half as either gradient; only its sum matters.
    void add_up(const ActionRecorder& recorder, std::vector<double>& time,
                std::vector<double>& count) const
    {
        const auto& actions = program().actions[this_rank()];
        const auto add = [&](const Action& action, Part part, double seconds, double actions_done) {
            const std::size_t at = 3 * static_cast<std::size_t>(action.chunk) + part;
            time[at] += seconds;
            count[at] += actions_done;
        };
        const auto each = [&](const Action& action, double seconds, double done) {
            switch (action.kind) {
            case ActionKind::forward: add(action, forward, seconds, done); break;
            case ActionKind::backward_input: add(action, input, seconds, done); break;
            case ActionKind::backward_weight: add(action, weight, seconds, done); break;
            case ActionKind::backward:
                add(action, input, seconds / 2.0, done);
                add(action, weight, seconds / 2.0, done);
                break;
            default: break;
            }
        };
        const auto& spans = recorder.spans();
        for (std::size_t i = 0; i + 1 < spans.size(); ++i)
            if (spans[i].activity == Activity::compute && spans[i].action >= 0)
                each(actions[static_cast<std::size_t>(spans[i].action)],
                     1e-9 * static_cast<double>(spans[i + 1].begin_ns - spans[i].begin_ns), 0.0);
        for (const Action& action : actions)
            each(action, 0.0, 1.0);
    }

    static std::vector<ChunkCosts> costs_from(const std::vector<double>& time,
                                              const std::vector<double>& count)
    {
        std::vector<ChunkCosts> costs;
        for (std::size_t i = 0; i < time.size(); i += 3)
            costs.push_back({time[i + forward] / count[i + forward],
                             time[i + input] / count[i + input],
                             time[i + weight] / count[i + weight], 0.0});
        return costs;
    }

    nlohmann::json report(const std::vector<ChunkCosts>& costs, std::vector<double> seconds,
                          const std::vector<double>& resident) const
    {
        const Simulation simulation = simulate(program(), costs);
        const int num_ranks = transport_.num_ranks();
        double work = 0.0, heaviest = 0.0;
        for (const double busy : simulation.busy) {
            work += busy;
            heaviest = std::max(heaviest, busy);
        }
        const double bound = seconds_on_cores(program(), costs, num_cores_);
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
                {"num_chunks", program().num_chunks},
                {"num_microbatches", program().num_microbatches},
                {"seconds", typical},
                {"seconds_range", {seconds.front(), seconds.back()}},
                {"tokens_per_second",
                 static_cast<double>(rank_.config().batch.tokens_per_update()) / typical},
                {"bound_seconds", bound},
                {"computing_seconds", work},
                {"share_of_bound", bound / typical},
                {"share_of_bound_range", {bound / seconds.back(), bound / seconds.front()}},
                {"idle_bound", heaviest / simulation.total},
                {"partition_bound", work / (heaviest * num_ranks)},
                {"planned_seconds", planned_seconds()},
                {"planned_bytes", memory},
                {"resident_bytes", resident},
                {"planned_activation_bytes", activations}};
    }

    double planned_seconds() const
    {
        return simulate(program(), costs_of_chunks(plan(), planned_)).total;
    }

    const RunPlan& plan() const { return rank_.plan(); }

    Transport& transport_;
    RankUnderTest rank_;
    CostModel planned_;
    int num_cores_;
};

} // namespace

int main(int argc, char** argv)
{
    CLI::App app("One schedule against the bound of its idle time and partition");
    std::vector<std::string> overrides;
    std::string costs_file, measure_into;
    int repeat = 3;
    app.add_option("--set", overrides, "section.key=value")
        ->take_all()
        ->expected(1)
        ->allow_extra_args(false);
    app.add_option("--costs", costs_file, "What the plan counts with");
    app.add_option("--measure-costs", measure_into, "Write such a file, and nothing else");
    app.add_option("--repeat", repeat, "Updates timed")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        const RunConfig config = parse_run_config(run_text, "benchmark", ".", overrides);
        if (config.run.device == "cuda")
            throw usage_error(
                "this benchmark times CPUs", "run.device",
                "GPUs: train with trace.updates, then `sluice plan --against RUN_DIR`");
        set_num_threads(config.run.threads_per_rank);
        const CostConditions conditions = conditions_of(config);
        if (!measure_into.empty()) {
            write_cost_file(measure_into, measure_costs(config), conditions);
            return 0;
        }
        const CostModel planned = costs_file.empty()
                                      ? costs_from_flops(config.model, conditions.micro_batch)
                                      : read_cost_file(costs_file, conditions);
        const auto transport =
            launched_as().by_launcher ? make_mpi_transport() : make_in_process_transport();
        Case one(config, *transport, planned);
        const nlohmann::json result = one.run(repeat);
        if (transport->rank() == 0)
            std::cout << result.dump() << std::endl;
    } catch (const std::exception& error) {
        std::cerr << "sluice_pipeline_benchmark: " << error.what() << "\n";
        return 2;
    }
    return 0;
}
