#include "src/plan/memory_limit.hpp"

#include "core/error.hpp"
#include "src/plan/candidate.hpp"
#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(memory_limit)

BOOST_AUTO_TEST_CASE(amounts_people_write)
{
    for (const auto& [text, bytes] : {std::pair("80GB", 80'000'000'000u),
                                      {"80 gb", 80'000'000'000u},
                                      {"2.5G", 2'500'000'000u},
                                      {"512MiB", 536'870'912u},
                                      {"1k", 1000u},
                                      {"1000", 1000u},
                                      {"3B", 3u},
                                      {"1TiB", 1'099'511'627'776u}})
        BOOST_TEST(bytes_from(text, "--memory") == bytes);
    for (const char* text :
         {"", "GB", "80 gigs", "-1GB", "0", "0.5", "0.0001kB", "80GBs", "1e30GB", "nan"})
        BOOST_CHECK_EXCEPTION(bytes_from(text, "--memory"), UserError, [](const UserError& error) {
            return error.where() == "--memory" && error.code() == ExitCode::usage;
        });
    BOOST_TEST(bytes_text(80'000'000'000u) == "80.0 GB");
    BOOST_TEST(bytes_text(7'931'000'000u) == "7.93 GB");
    BOOST_TEST(bytes_text(512'000'000u) == "512 MB");
    BOOST_TEST(bytes_text(999'900'000u) == "1.00 GB");
    BOOST_TEST(bytes_text(1'500u) == "1.50 kB");
}

BOOST_AUTO_TEST_CASE(a_run_that_fits_is_let_pass)
{
    const RunConfig config = test::small_run();
    const RunPlan plan = plan_run(config, 2);
    const std::size_t peak =
        std::max(total_bytes(plan.rank_memory(0)), total_bytes(plan.rank_memory(1)));
    BOOST_CHECK_NO_THROW(refuse_unless_it_fits(config, plan, peak));
    BOOST_CHECK_THROW(refuse_unless_it_fits(config, plan, peak - 1), UserError);
}

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
    BOOST_CHECK_EXCEPTION(
        refuse_unless_it_fits(config, plan, limit), UserError, [&](const UserError& error) {
            const std::string& problem = error.problem();
            return problem.starts_with("the run does not fit: rank ") &&
                   problem.find("activations") != std::string::npos &&
                   error.remedy().starts_with("what would fit: " + changes[0].overrides) &&
                   error.code() == ExitCode::usage;
        });
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

BOOST_AUTO_TEST_CASE(nothing_helps_a_model_that_is_too_large)
{
    const RunConfig config = test::small_run();
    BOOST_TEST(changes_that_fit(config, 2, 1000).empty());
    BOOST_CHECK_EXCEPTION(refuse_unless_it_fits(config, plan_run(config, 2), 1000), UserError,
                          [](const UserError& error) {
                              return error.remedy().find("make the model smaller") !=
                                     std::string::npos;
                          });
}

BOOST_AUTO_TEST_SUITE_END()
