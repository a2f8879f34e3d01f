#include "core/durable_file.hpp"
#include "io/checkpoint.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <boost/test/unit_test.hpp>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

namespace {

/// Retention looks at names and manifests' presence only.
void make_checkpoint(const fs::path& checkpoints, std::int64_t update)
{
    const fs::path folder = checkpoints / checkpoint_folder_name(update);
    fs::create_directories(folder);
    write_file_durably(folder / "manifest.json", "{}");
    write_file_durably(folder / "checkpoint.h5", "");
}

std::vector<std::string> kept(std::int64_t keep_last, std::int64_t keep_every,
                              std::int64_t rewind_updates = 0)
{
    ScratchFolder scratch;
    for (const std::int64_t update : {10, 20, 30, 40, 50, 60})
        make_checkpoint(scratch.path(), update);
    const auto deleted = prune_checkpoints(scratch.path(), keep_last, keep_every, rewind_updates);
    std::vector<std::string> names;
    for (const fs::path& folder : list_checkpoints(scratch.path()))
        names.push_back(folder.filename().string().substr(12));
    BOOST_TEST(names.size() + deleted.size() == 6u);
    return names;
}

using Names = std::vector<std::string>;

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_retention)

BOOST_AUTO_TEST_CASE(the_two_rules)
{
    BOOST_TEST((kept(0, 0) == Names{"010", "020", "030", "040", "050", "060"}));
    BOOST_TEST((kept(0, 30) == Names{"010", "020", "030", "040", "050", "060"}));
    BOOST_TEST((kept(1, 0) == Names{"060"}));
    BOOST_TEST((kept(2, 0) == Names{"050", "060"}));
    BOOST_TEST((kept(2, 30) == Names{"030", "050", "060"}));
    BOOST_TEST((kept(1, 20) == Names{"020", "040", "060"}));
    BOOST_TEST((kept(100, 0).size() == 6u));
}

BOOST_AUTO_TEST_CASE(one_is_kept_that_a_rewind_can_go_back_to)
{
    // The next update is 61: going back 1 from there is 60, 11 is 50, 12 is 49.
    BOOST_TEST((kept(1, 0, 1) == Names{"060"}));
    BOOST_TEST((kept(1, 0, 11) == Names{"050", "060"}));
    BOOST_TEST((kept(1, 0, 12) == Names{"040", "060"}));
    BOOST_TEST((kept(2, 30, 25) == Names{"030", "050", "060"}));
    BOOST_TEST((kept(1, 0, 1000) == Names{"060"}));
}

BOOST_AUTO_TEST_CASE(a_history_that_was_left_is_deleted)
{
    ScratchFolder scratch;
    for (const std::int64_t update : {0, 10, 20, 30})
        make_checkpoint(scratch.path(), update);
    BOOST_TEST(delete_checkpoints_after(scratch.path(), 10).size() == 2u);
    const auto left = list_checkpoints(scratch.path());
    BOOST_TEST_REQUIRE(left.size() == 2u);
    BOOST_TEST(update_of_checkpoint(left[0]) == 0);
    BOOST_TEST(update_of_checkpoint(left[1]) == 10);
}

BOOST_AUTO_TEST_CASE(only_finished_checkpoints_are_listed_in_order_of_updates)
{
    ScratchFolder scratch;
    BOOST_TEST(list_checkpoints(scratch.path() / "absent").empty());
    for (const std::int64_t update : {123456789012L, 5L, 99999999L, 100000000L})
        make_checkpoint(scratch.path(), update);
    fs::create_directories(scratch.path() / checkpoint_folder_name(6)); // no manifest
    make_checkpoint(scratch.path() / "x", 7);
    fs::rename(scratch.path() / "x" / checkpoint_folder_name(7), scratch.path() / "update-7");
    write_file_durably(scratch.path() / checkpoint_folder_name(8), "a file");
    const auto folders = list_checkpoints(scratch.path());
    Names names;
    for (const fs::path& folder : folders)
        names.push_back(folder.filename());
    BOOST_TEST((names == Names{"update-00000005", "update-99999999", "update-100000000",
                               "update-123456789012"}));
}

BOOST_AUTO_TEST_CASE(leftovers_of_dead_saves_go_and_strangers_stay)
{
    ScratchFolder scratch;
    make_checkpoint(scratch.path(), 10);
    const Names leftovers = {".update-00000020.partial", ".update-00000005.deleting"};
    const Names strangers = {".update-notes", "notes", ".update-20.partial", ".partial"};
    for (const auto& names : {leftovers, strangers})
        for (const std::string& name : names)
            fs::create_directories(scratch.path() / name / "inside");
    BOOST_TEST(prune_checkpoints(scratch.path(), 3, 0).size() == leftovers.size());
    for (const std::string& name : leftovers)
        BOOST_TEST(!fs::exists(scratch.path() / name));
    for (const std::string& name : strangers)
        BOOST_TEST(fs::exists(scratch.path() / name));
    BOOST_TEST(list_checkpoints(scratch.path()).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_real_checkpoint_survives_pruning_and_a_dead_save)
{
    ScratchFolder scratch;
    ExampleModel model, later(3, 8);
    const fs::path folder = save(model, scratch.path(), 2);
    // A save that died after one of two stages.
    write_stage_file(scratch.path() / partial_folder_name(8), 0, 2, later.contents(0, 2));
    BOOST_TEST(list_checkpoints(scratch.path()).size() == 1u);
    prune_checkpoints(scratch.path(), 1, 0);
    BOOST_TEST(!fs::exists(scratch.path() / partial_folder_name(8)));
    BOOST_TEST(first_problem(folder).empty());
}

BOOST_AUTO_TEST_SUITE_END()
