#include "src/plan/plan_against.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/src/plan/plan_fixture.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <sstream>

using namespace sluice;
using Json = nlohmann::ordered_json;

namespace {

/// A run that takes exactly what its plan says, told in a ledger; tests then change the ledger.
struct Traced {
    explicit Traced(const std::vector<std::string>& overrides = {})
        : config(test::small_run(overrides))
    {
        write_ledger();
    }

    RunConfig config;
    CostModel costs =
        costs_from_flops(config.model, {config.batch.micro_batch_size, config.batch.seq_len},
                         {.flops_per_second = 1e6});
    RunPlan plan = plan_run(config, 2);
    Candidate candidate = price(config, plan, costs);
    testing::TemporaryFolder folder;
    std::filesystem::path run_dir = folder.path();
    Json ledger;

    void write_ledger()
    {
        std::filesystem::create_directories(run_dir / "trace");
        ledger = {{"format", "sluice-ledger-1"},
                  {"first_update", 3},
                  {"last_update", 5},
                  {"schedule", "1f1b"},
                  {"replicas", config.pipeline.replicas},
                  {"num_microbatches", plan.program.num_microbatches},
                  {"micro_batch_size", 2},
                  {"seq_len", 8},
                  {"barrier_seconds", barrier_seconds(costs, 2)}};
        const auto chunks = costs_of_chunks(plan, costs);
        for (std::size_t i = 0; i < chunks.size(); ++i)
            ledger["chunks"].push_back(
                {{"rank", i},
                 {"first_layer", plan.partition[i].begin},
                 {"num_layers", plan.partition[i].num_layers()},
                 {"measured_seconds",
                  {{"forward", chunks[i].forward},
                   {"backward", chunks[i].backward_input + chunks[i].backward_weight},
                   {"backward_input", nullptr},
                   {"backward_weight", nullptr},
                   {"transfer", i == 0 ? Json(chunks[i].transfer) : Json()}}},
                 {"replayed_seconds",
                  {{"forward", chunks[i].forward},
                   {"backward_input", chunks[i].backward_input},
                   {"backward_weight", chunks[i].backward_weight},
                   {"transfer", i == 0 ? Json(chunks[i].transfer) : Json()}}}});
        const auto num_ranks = 2 * static_cast<std::size_t>(config.pipeline.replicas);
        for (std::size_t world_rank = 0; world_rank < num_ranks; ++world_rank) {
            const std::size_t rank = world_rank % 2;
            const IdleCauses& idle = candidate.idle.ranks[rank];
            ledger["mean"].push_back({{"rank", world_rank},
                                      {"nanoseconds",
                                       {{"update", candidate.seconds_per_update * 1e9},
                                        {"compute", candidate.idle.busy[rank] * 1e9},
                                        {"fill_drain", idle.fill_drain * 1e9},
                                        {"imbalance", idle.imbalance * 1e9},
                                        {"exposed_transfer", idle.exposed_transfer * 1e9},
                                        {"barrier", idle.barrier * 1e9},
                                        {"jitter", 0},
                                        {"data", 0},
                                        {"optimizer", candidate.optimizer_seconds * 1e9},
                                        {"other", 0}}}});
        }
    }

    MeasuredRun measured() const
    {
        write_file_durably(run_dir / "trace" / "ledger.json", ledger.dump());
        return read_measured_run(run_dir);
    }
    std::string text() const { return against_text({config, plan, costs, candidate}, measured()); }
    /// What is wrong with the ledger as it is, or with the plan beside it.
    std::string problem() const
    {
        try {
            text();
        } catch (const UserError& error) {
            return error.problem();
        }
        return "none";
    }
};

/// Of the throughput that schedule and partition allow.
double percent_reached(const std::string& said)
{
    const std::size_t end = said.find("% of the throughput"), begin = said.rfind('\n', end) + 1;
    return std::stod(said.substr(begin, end - begin));
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(plan_against, Traced)

BOOST_AUTO_TEST_CASE(a_run_as_planned_agrees)
{
    const std::string said = text();
    BOOST_TEST(said.find("plan and measurement agree") != std::string::npos, said);
    BOOST_TEST(said.find("updates 3-5 of " + run_dir.string()) != std::string::npos);
    std::istringstream lines(said);
    for (std::string line; std::getline(lines, line);)
        if (!line.starts_with("plan against"))
            BOOST_TEST(line.size() <= 80u, line);
}

// A ledger has the ranks of all replicas; a plan those of one.
BOOST_AUTO_TEST_CASE(replicas_are_compared_like_one)
{
    Traced replicated({"pipeline.replicas=2"});
    BOOST_REQUIRE(replicated.ledger["mean"].size() == 4u);
    const std::string said = replicated.text();
    BOOST_TEST(said.find("plan and measurement agree") != std::string::npos, said);
    replicated.ledger["replicas"] = 4;
    BOOST_TEST(replicated.problem() == "the plan has replicas: 2, the traced run had 4");
    replicated.ledger["replicas"] = 2;
    replicated.ledger["mean"].erase(3);
    BOOST_TEST(replicated.problem() == "the plan has ranks: 4, the traced run had 3");
}

BOOST_AUTO_TEST_CASE(a_slow_chunk_is_found)
{
    auto& chunk = ledger["chunks"][1]["measured_seconds"];
    chunk["backward"] = 2.0 * chunk["backward"].get<double>();
    for (auto& rank : ledger["mean"]) {
        auto& nanoseconds = rank["nanoseconds"];
        nanoseconds["compute"] = 1.5 * nanoseconds["compute"].get<double>();
        nanoseconds["update"] = 1.4 * nanoseconds["update"].get<double>();
    }
    const std::string said = text();
    BOOST_TEST(said.find("they part most in computing: ") != std::string::npos, said);
    BOOST_TEST(said.find("most of all in chunk 1: ") != std::string::npos, said);
    BOOST_TEST(said.find("+100.0%") != std::string::npos, said);
}

BOOST_AUTO_TEST_CASE(jitter_is_no_fault_of_the_costs)
{
    const double undisturbed = percent_reached(text());
    const IdleCauses idle = candidate.idle.mean();
    const double waits = (idle.exposed_transfer + idle.barrier) / candidate.seconds_per_update;
    BOOST_TEST(std::abs(undisturbed - 100.0 * (1.0 - waits)) <= 0.06);
    for (auto& rank : ledger["mean"]) {
        auto& nanoseconds = rank["nanoseconds"];
        nanoseconds["jitter"] = 0.1 * nanoseconds["update"].get<double>();
        nanoseconds["update"] = 1.1 * nanoseconds["update"].get<double>();
    }
    BOOST_TEST(text().find("they part most in jitter: ") != std::string::npos);
    BOOST_TEST(std::abs(percent_reached(text()) - undisturbed / 1.1) <= 0.11); // as printed
}

BOOST_AUTO_TEST_CASE(other_layouts_are_not_compared)
{
    ledger["schedule"] = "zb-v";
    BOOST_TEST(problem() == "the plan has schedule 1f1b, the traced run had zb-v");
    ledger["schedule"] = "1f1b";
    ledger["num_microbatches"] = 7;
    BOOST_TEST(problem() == "the plan has micro-batches: 6, the traced run had 7");
    ledger["chunks"][1]["num_layers"] = plan.partition[1].num_layers() + 1;
    BOOST_TEST(problem().starts_with("the plan has in chunk 1 the layers "));
}

BOOST_AUTO_TEST_CASE(faults_of_a_ledger_are_named)
{
    BOOST_CHECK_THROW(read_measured_run(run_dir / "nothing"), UserError);
    ledger["format"] = "sluice-ledger-9";
    BOOST_TEST(problem() == "the format is 'sluice-ledger-9', not 'sluice-ledger-1'");
    ledger["format"] = "sluice-ledger-1";
    ledger["mean"][0]["nanoseconds"].erase("jitter");
    BOOST_TEST(problem().starts_with("this is not a ledger: "));
    BOOST_TEST(problem().find("'jitter'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(numbers_that_no_integer_holds_are_refused)
{
    const Json whole = ledger;
    for (const char* key :
         {"first_update", "last_update", "replicas", "num_microbatches", "micro_batch_size"})
        for (const Json& value : {Json(1.5e20), Json(1.5), Json(~std::uint64_t{0}), Json("3")}) {
            ledger = whole;
            ledger[key] = value;
            BOOST_TEST(problem() == "this is not a ledger: \"" + std::string(key) +
                                        "\" is not a possible number");
        }
}

BOOST_AUTO_TEST_CASE(times_that_cannot_be_are_refused)
{
    const Json whole = ledger;
    ledger["mean"][1]["nanoseconds"]["update"] = 0;
    BOOST_TEST(problem() == "this is not a ledger: the mean update of rank 1 takes 0 s");
    ledger = whole;
    ledger["mean"][0]["nanoseconds"]["compute"] = -1;
    BOOST_TEST(problem() ==
               "this is not a ledger: a part of the mean update of rank 0 takes less than no time");
    for (const char* cost : {"forward", "backward_input", "backward_weight", "transfer"}) {
        ledger = whole;
        ledger["chunks"][1]["replayed_seconds"][cost] = -1e-3;
        BOOST_TEST(problem() == "this is not a ledger: work of chunk 1 takes less than no time");
    }
    ledger = whole;
    ledger["barrier_seconds"] = -1.0;
    BOOST_CHECK_EXCEPTION(measured(), UserError, [](const UserError& error) {
        return error.code() == ExitCode::data &&
               error.problem() == "this is not a ledger: the barrier takes less than no time";
    });
}

BOOST_AUTO_TEST_SUITE_END()
