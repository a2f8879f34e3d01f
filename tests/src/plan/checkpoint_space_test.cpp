#include "src/plan/checkpoint_space.hpp"

#include "core/error.hpp"
#include "src/text/number_text.hpp"
#include "tests/src/plan/plan_fixture.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

std::int64_t most_kept(const std::vector<std::string>& overrides)
{
    const RunConfig config = test::small_run(overrides);
    return plan_checkpoint_space(config, plan_run(config, 2)).most_kept;
}

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_space)

BOOST_AUTO_TEST_CASE(weights_and_both_moments_of_all_stages)
{
    for (const int num_ranks : {1, 2}) {
        const RunConfig config = test::small_run();
        const auto parameters = static_cast<std::uint64_t>(num_parameters(config.model));
        BOOST_TEST(plan_checkpoint_space(config, plan_run(config, num_ranks)).bytes_each ==
                   3 * sizeof(float) * parameters);
    }
}

BOOST_AUTO_TEST_CASE(as_many_as_retention_keeps_and_the_one_being_written)
{
    const std::string updates = "run.updates=100", every = "checkpoint.every_updates=10";
    BOOST_TEST(most_kept({updates, "checkpoint.every_updates=0"}) == 1);
    BOOST_TEST(most_kept({updates, every, "checkpoint.keep_last=2"}) == 3);
    BOOST_TEST(most_kept({updates, every, "checkpoint.keep_last=0"}) == 10);
    BOOST_TEST(most_kept({updates, every, "checkpoint.keep_last=50"}) == 10);
    BOOST_TEST(most_kept({"run.updates=101", every, "checkpoint.keep_last=0"}) == 11);
    BOOST_TEST(most_kept({updates, every, "checkpoint.keep_last=2", "checkpoint.keep_every=50"}) ==
               5);
    BOOST_TEST(most_kept({updates, "checkpoint.every_updates=1", "checkpoint.keep_last=2",
                          "anomaly.on_nonfinite=rewind"}) == 10);
}

BOOST_AUTO_TEST_CASE(no_room_for_one_is_refused_and_for_all_is_told)
{
    const testing::TemporaryFolder folder;
    CheckpointSpace space{.bytes_each = 1000, .most_kept = 3};
    BOOST_TEST(refuse_without_space(space, folder.path()) == "");
    space.most_kept = std::int64_t{1} << 50;
    const std::string warning = refuse_without_space(space, folder.path());
    BOOST_TEST(warning.find("1125899906842624 checkpoints of " + bytes_text(1000)) !=
                   std::string::npos,
               warning);
    space.bytes_each = std::uint64_t{1} << 60;
    BOOST_CHECK_EXCEPTION(refuse_without_space(space, folder.path()), UserError,
                          [](const UserError& error) { return error.code() == ExitCode::data; });
}

BOOST_AUTO_TEST_SUITE_END()
