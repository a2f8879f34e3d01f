#include "src/plan/gates_within_run.hpp"

#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

std::string warning(const char* schedule, std::int64_t updates)
{
    return gates_that_stay_behind(
        test::small_run({std::string("prores.schedule=") + schedule, "prores.warmup_steps=10",
                         "run.updates=" + std::to_string(updates)}));
}

} // namespace

BOOST_AUTO_TEST_SUITE(gates_within_run)

BOOST_AUTO_TEST_CASE(the_last_update_has_the_gates_of_the_completed_ones_before)
{
    const std::int64_t L = test::small_run().model.num_layers, all_open = 10 * L + 1;
    for (const char* schedule :
         {"linear", "linear-sqrt", "reverse", "stagewise-0", "stagewise-L"}) {
        BOOST_TEST(warning(schedule, all_open) == "", schedule);
        BOOST_TEST(warning(schedule, all_open - 1).find("1 of " + std::to_string(L)) !=
                       std::string::npos,
                   schedule << ": " << warning(schedule, all_open - 1));
    }
    BOOST_TEST(warning("reverse", all_open - 1).find("layer 1 at") != std::string::npos);
    BOOST_TEST(warning("equal", 11) == "");
    BOOST_TEST(warning("equal", 6).find("at 0.5. Update 11 would") != std::string::npos);
    const std::string first_open = "Update " + std::to_string(all_open) + " would";
    BOOST_TEST(warning("linear", 2).find(first_open) != std::string::npos);
    for (const char* schedule : {"off", "fix-L"})
        BOOST_TEST(warning(schedule, 1) == "", schedule);
}

BOOST_AUTO_TEST_SUITE_END()
