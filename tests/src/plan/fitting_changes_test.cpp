#include "src/plan/fitting_changes.hpp"

#include "core/error.hpp"
#include "src/plan/candidate.hpp"
#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

#include <set>
#include <sstream>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(fitting_changes)

// GPipe keeps all six micro-batches alive; 1F1B two.
BOOST_AUTO_TEST_CASE(every_change_named_really_fits)
{
    const RunConfig config = test::small_run({"pipeline.schedule=gpipe"}, 2);
    const RunPlan plan = plan_run(config, 2);
    const std::size_t limit =
        std::max(total_bytes(plan.rank_memory(0)), total_bytes(plan.rank_memory(1))) - 1;
    const auto changes = changes_that_fit(config, 2, limit);
    BOOST_REQUIRE(!changes.empty());
    BOOST_TEST(changes[0].overrides == "--set pipeline.recompute=lean");
    for (const FittingChange& change : changes)
        BOOST_TEST(change.peak_bytes <= limit);
}

BOOST_AUTO_TEST_CASE(smaller_micro_batches_are_said_to_change_rounding)
{
    const RunConfig config = test::small_run({}, 6);
    const auto changes =
        changes_that_fit(config, 1, total_bytes(plan_run(config, 1).rank_memory(0)) - 1);
    const auto smaller =
        std::find_if(changes.begin(), changes.end(),
                     [](const FittingChange& each) { return each.changes_result; });
    BOOST_REQUIRE((smaller != changes.end()));
    BOOST_TEST(smaller->overrides == "--set batch.micro_batch_size=4"); // the largest that fits
}

/// The fullest rank's bytes, of a whole plan.
std::size_t peak_of(const RunConfig& config, int num_ranks)
{
    const RunPlan plan = plan_run(config, num_ranks);
    std::size_t peak = 0;
    for (int rank = 0; rank < num_ranks; ++rank)
        peak = std::max(peak, total_bytes(plan.rank_memory(rank)));
    return peak;
}

std::string kind_of(const FittingChange& change)
{
    return change.overrides.find("ranks") != std::string::npos ? "ranks"
           : change.changes_result                             ? "micro-batch"
                                                               : "layout";
}

/// What is suggested, as a run file and a number of stages.
std::pair<RunConfig, int> applied(const FittingChange& change, const RunConfig& config,
                                  int num_stages)
{
    std::istringstream words(change.overrides);
    std::vector<std::string> overrides;
    std::string before;
    for (std::string word; words >> word; before = word) {
        if (before == "--set")
            overrides.push_back(word);
        else if (word.starts_with("ranks"))
            num_stages = std::stoi(before) / config.pipeline.replicas;
    }
    return {parse_run_config(resolved_toml(config), "small.toml", ".", overrides), num_stages};
}

// Many micro-batches are priced from few: what is said must be what a whole plan needs.
BOOST_AUTO_TEST_CASE(changes_for_many_micro_batches_are_priced_as_they_are)
{
    std::set<std::string> kinds;
    for (const char* schedule :
         {"gpipe", "1f1b", "interleaved-1f1b", "zb-h1", "interleaved-zb", "zb-v", "v-half"})
        for (const int num_stages : {1, 2, 3})
            for (const int num_sequences : {960, 1010}) {
                const std::string name = schedule;
                const bool chunked = name.starts_with("interleaved");
                if (num_stages == 1 && (chunked || name.find("v") != std::string::npos))
                    continue;
                const RunConfig config = test::small_run(
                    {"pipeline.schedule=" + name,
                     "pipeline.chunks_per_rank=" +
                         std::to_string(chunked || name.find("v") != std::string::npos ? 2 : 1),
                     "batch.global_batch_size=" + std::to_string(num_sequences),
                     "pipeline.replicas=2"},
                    5);
                const std::size_t limit = peak_of(config, num_stages) - 1;
                for (const FittingChange& change : changes_that_fit(config, num_stages, limit)) {
                    kinds.insert(kind_of(change));
                    const auto [with, stages] = applied(change, config, num_stages);
                    BOOST_TEST(change.peak_bytes == peak_of(with, stages),
                               name << " on " << num_stages << ": " << change.overrides);
                    BOOST_TEST(change.peak_bytes <= limit);
                }
            }
    BOOST_TEST(kinds.size() == 3u);
}

// 10,000 micro-batches; sizes that divide the batch go down to one of 10,000,000, which no run may
// have, and none of a million is planned to find out.
BOOST_AUTO_TEST_CASE(a_refusal_does_not_plan_millions_of_micro_batches)
{
    const RunConfig config = test::small_run({"batch.global_batch_size=10000000"}, 1000);
    const auto changes = changes_that_fit(config, 3, 80'000'000);
    for (const FittingChange& change : changes)
        if (change.changes_result)
            BOOST_TEST(applied(change, config, 3).first.batch.num_microbatches() <= 1'000'000 / 3);
    BOOST_TEST(changes_that_fit(config, 3, 1000).empty());
}

BOOST_AUTO_TEST_CASE(replicas_share_the_micro_batches_that_are_suggested)
{
    const RunConfig config = test::small_run({"pipeline.replicas=2"}, 6);
    const auto changes = changes_that_fit(config, 1, peak_of(config, 1) - 1);
    const auto smaller =
        std::find_if(changes.begin(), changes.end(),
                     [](const FittingChange& each) { return each.changes_result; });
    BOOST_REQUIRE((smaller != changes.end()));
    BOOST_TEST(smaller->overrides == "--set batch.micro_batch_size=3"); // 4 makes 3 of them
    RunConfig odd = config;
    odd.batch.micro_batch_size = 4;
    BOOST_CHECK_THROW(plan_run(odd, 1), InvariantError);
}

BOOST_AUTO_TEST_CASE(the_smallest_number_of_stages_is_found_and_counted_in_ranks)
{
    const RunConfig config = test::small_run({"pipeline.recompute=full"}, 1);
    for (const int replicas : {1, 2})
        for (const int stages : {2, 3, 5, 6}) {
            RunConfig with = config;
            with.pipeline.replicas = replicas;
            const auto changes = changes_that_fit(with, 1, peak_of(with, stages));
            const auto more =
                std::find_if(changes.begin(), changes.end(),
                             [](const FittingChange& each) { return kind_of(each) == "ranks"; });
            BOOST_REQUIRE((more != changes.end()));
            BOOST_TEST(more->overrides == (replicas == 1
                                               ? std::to_string(stages) + " ranks"
                                               : std::to_string(2 * stages) + " ranks, " +
                                                     std::to_string(stages) + " for each replica"));
        }
}

BOOST_AUTO_TEST_CASE(nothing_is_said_twice)
{
    const RunConfig config = test::small_run({"pipeline.replicas=2"});
    std::size_t least = unlimited_bytes;
    for (const PipelineConfig& layout : possible_layouts(config, 2)) {
        RunConfig with = config;
        with.pipeline = layout;
        with.pipeline.recompute = Recompute::full;
        least = std::min(least, peak_of(with, 2));
    }
    for (std::size_t limit = least; limit < peak_of(config, 2); limit += 512) {
        const auto changes = changes_that_fit(config, 2, limit);
        std::set<std::string> once;
        for (const FittingChange& change : changes)
            BOOST_TEST(once.insert(change.overrides).second, change.overrides);
    }
}

// Down to where nothing fits: as few changes as are needed, and each suggestion holds.
BOOST_AUTO_TEST_CASE(several_changes_where_one_is_not_enough)
{
    const RunConfig config = test::small_run({"checkpoint.asynchronous=true"}, 6);
    const std::string all_at_once = "--set checkpoint.asynchronous=false --set "
                                    "pipeline.recompute=full --set batch.micro_batch_size=1 and "
                                    "6 ranks";
    const auto [leanest, most_stages] = applied({.overrides = all_at_once}, config, 2);
    const std::size_t most = peak_of(config, 2) - 1, least = peak_of(leanest, most_stages);
    BOOST_TEST(changes_that_fit(config, 2, least - 1).empty());
    constexpr std::size_t steps = 40;
    std::set<std::string> suggested;
    for (std::size_t step = 0; step <= steps; ++step) {
        const std::size_t limit = most - (most - least) * step / steps;
        const auto changes = changes_that_fit(config, 2, limit);
        BOOST_TEST(!changes.empty());
        for (const FittingChange& change : changes) {
            const auto [with, stages] = applied(change, config, 2);
            BOOST_TEST(change.peak_bytes == peak_of(with, stages), change.overrides);
            BOOST_TEST(change.peak_bytes <= limit);
            BOOST_TEST(change.changes_result ==
                       (with.batch.micro_batch_size != config.batch.micro_batch_size));
            suggested.insert(change.overrides);
        }
    }
    BOOST_TEST(suggested.contains("--set checkpoint.asynchronous=false"));
    BOOST_TEST(suggested.contains(all_at_once));
}

BOOST_AUTO_TEST_CASE(nothing_helps_a_model_that_is_too_large)
{
    BOOST_TEST(changes_that_fit(test::small_run(), 2, 1000).empty());
}

BOOST_AUTO_TEST_SUITE_END()
