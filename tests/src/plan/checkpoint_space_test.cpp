#include "src/plan/checkpoint_space.hpp"

#include "core/error.hpp"
#include "io/checkpoint.hpp"
#include "src/text/number_text.hpp"
#include "tests/src/plan/plan_fixture.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>

using namespace sluice;
namespace fs = std::filesystem;

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
                          "anomaly.on_nonfinite=rewind"}) == 11);
}

BOOST_AUTO_TEST_CASE(no_more_are_kept_for_rewinds_than_are_counted)
{
    std::int64_t most_above = 0; // what keep_last = 1 and the one being written do not explain
    for (std::int64_t reach = 1; reach <= 12; ++reach)
        for (const std::int64_t every : {1, 2, 3, 5}) {
            const testing::TemporaryFolder folder;
            for (std::int64_t update = 0; update <= 6 * reach + 12; update += every) {
                const fs::path checkpoint = folder / checkpoint_folder_name(update);
                fs::create_directory(checkpoint);
                std::ofstream(checkpoint / "manifest.json") << "{}";
                most_above = std::max<std::int64_t>(
                    most_above, std::ssize(list_checkpoints(folder.path())) - 2);
                prune_checkpoints(folder.path(), {.keep_last = 1, .rewind_updates = reach},
                                  std::nullopt, [](const fs::path&) { return true; });
            }
        }
    const std::int64_t counted =
        most_kept({"run.updates=100", "checkpoint.every_updates=1", "checkpoint.keep_last=1",
                   "anomaly.on_nonfinite=rewind"}) -
        2;
    BOOST_TEST(most_above == counted);
}

BOOST_AUTO_TEST_CASE(more_bytes_than_there_are_numbers_for)
{
    const CheckpointSpace space{.bytes_each = std::uint64_t{1} << 36,
                                .most_kept = std::int64_t{1} << 30};
    BOOST_TEST(space.most_bytes() == std::numeric_limits<std::uint64_t>::max());
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
