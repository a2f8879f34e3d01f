#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "io/checkpoint_manifest.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <functional>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

namespace {

using Names = std::vector<std::string>;

/// As much as retention looks at: a manifest, and files of the sizes it says.
fs::path make_checkpoint(const fs::path& checkpoints, std::int64_t update)
{
    const fs::path folder = checkpoints / checkpoint_folder_name(update);
    fs::create_directories(folder);
    Manifest manifest;
    manifest.update = update;
    manifest.created_at = "2026-01-31T23:59:59Z";
    manifest.parameters_digest = manifest.state_digest = checksum_of({});
    for (const std::string& file : {std::string(index_name), stage_file_name(0, 1)}) {
        manifest.files.push_back({file, 4, checksum_of({})});
        std::ofstream(folder / file) << "1234"; // not durably: that takes seconds for hundreds
    }
    std::ofstream(folder / manifest_name) << manifest_text(manifest);
    return folder;
}

Names names_in(const fs::path& checkpoints)
{
    Names names;
    for (const fs::path& folder : list_checkpoints(checkpoints))
        names.push_back(folder.filename().string().substr(12));
    return names;
}

std::vector<std::string> kept(std::int64_t keep_last, std::int64_t keep_every,
                              std::int64_t rewind_updates = 0)
{
    TemporaryFolder scratch;
    for (const std::int64_t update : {10, 20, 30, 40, 50, 60})
        make_checkpoint(scratch.path(), update);
    const auto deleted = prune_checkpoints(
        scratch.path(),
        {.keep_last = keep_last, .keep_every = keep_every, .rewind_updates = rewind_updates});
    const Names names = names_in(scratch.path());
    BOOST_TEST(names.size() + deleted.size() == 6u);
    return names;
}

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

BOOST_AUTO_TEST_CASE(some_are_kept_that_rewinds_can_go_back_to)
{
    // The next update is 61. Going back 1 from there is 60, and two more are 59 and 58.
    BOOST_TEST((kept(1, 0, 1) == Names{"050", "060"}));
    // 50, 39 and 28; and 40, the first one in its five updates.
    BOOST_TEST((kept(1, 0, 11) == Names{"020", "030", "040", "050", "060"}));
    BOOST_TEST((kept(1, 0, 9) == Names{"030", "040", "050", "060"})); // 52, 43, 34
    // 21; of 0 to 19 and 20 to 39 the first.
    BOOST_TEST((kept(1, 0, 40) == Names{"010", "020", "040", "060"}));
    BOOST_TEST((kept(1, 0, 1000) == Names{"010", "060"})); // the oldest there is
}

// However dense saves are and however few stay otherwise, a rewind and one behind it find
// something, of less than twice the age, once the run is old enough for it.
BOOST_AUTO_TEST_CASE(while_a_run_goes_on_there_always_is_one_of_the_right_age)
{
    for (const std::int64_t every : {1, 2, 5, 7, 30})
        for (const std::int64_t reach : {1, 3, 10, 20}) {
            TemporaryFolder scratch;
            for (std::int64_t update = 0; update <= 120; update += every) {
                make_checkpoint(scratch.path(), update);
                prune_checkpoints(scratch.path(), {.keep_last = 2, .rewind_updates = reach},
                                  update);
                const auto folders = list_checkpoints(scratch.path());
                BOOST_TEST(folders.size() <= 10u);
                for (std::int64_t anomaly = update + 1, back = 1; back <= 2; ++back) {
                    const std::int64_t target = anomaly - reach;
                    if (target < 0)
                        break;
                    std::int64_t found = -1;
                    for (const fs::path& folder : folders)
                        if (update_of_checkpoint(folder) <= target)
                            found = update_of_checkpoint(folder);
                    BOOST_TEST_CONTEXT("every " << every << ", reach " << reach << ", update "
                                                << update << ", rewind " << back)
                    {
                        BOOST_TEST(found >= 0);
                        BOOST_TEST(found > target - std::max(reach / 2 + every, every + 1));
                    }
                    anomaly = target + 1; // the same again at once
                }
            }
        }
}

// A resume passes over a newer one whose tensors are damaged, which retention does not see.
BOOST_AUTO_TEST_CASE(later_ones_than_the_one_just_saved_count_for_nothing)
{
    TemporaryFolder scratch;
    for (const std::int64_t update : {10, 20, 25, 30, 40})
        make_checkpoint(scratch.path(), update);
    prune_checkpoints(scratch.path(), {.keep_last = 1}, 25);
    BOOST_TEST((names_in(scratch.path()) == Names{"025", "030", "040"}));
}

BOOST_AUTO_TEST_CASE(whoever_asks_says_what_whole_is)
{
    TemporaryFolder scratch;
    for (const std::int64_t update : {10, 20, 30})
        make_checkpoint(scratch.path(), update);
    int num_looks = 0;
    prune_checkpoints(scratch.path(), {.keep_last = 1}, std::nullopt, [&](const fs::path& folder) {
        ++num_looks;
        return update_of_checkpoint(folder) != 30;
    });
    BOOST_TEST((names_in(scratch.path()) == Names{"020", "030"}));
    BOOST_TEST(num_looks == 2); // each may cost a whole read
}

BOOST_AUTO_TEST_CASE(a_history_that_was_left_is_deleted)
{
    TemporaryFolder scratch;
    for (const std::int64_t update : {0, 10, 20, 30})
        make_checkpoint(scratch.path(), update);
    BOOST_TEST(delete_checkpoints_after(scratch.path(), 10).size() == 2u);
    const auto left = list_checkpoints(scratch.path());
    BOOST_TEST_REQUIRE(left.size() == 2u);
    BOOST_TEST(update_of_checkpoint(left[0]) == 0);
    BOOST_TEST(update_of_checkpoint(left[1]) == 10);
}

BOOST_AUTO_TEST_CASE(damaged_checkpoints_count_for_nothing)
{
    using Damage = std::function<void(const fs::path&)>;
    const std::vector<Damage> damages{
        [](const fs::path& folder) { fs::remove(folder / stage_file_name(0, 1)); },
        [](const fs::path& folder) { fs::resize_file(folder / stage_file_name(0, 1), 3); },
        [](const fs::path& folder) { fs::resize_file(folder / index_name, 5); },
        [](const fs::path& folder) { fs::resize_file(folder / manifest_name, 40); },
        [](const fs::path& folder) { write_file_durably(folder / manifest_name, "{}"); }};
    for (const Damage& damage : damages) {
        TemporaryFolder scratch;
        for (const std::int64_t update : {10, 20, 30, 40})
            make_checkpoint(scratch.path(), update);
        const fs::path newest = scratch.path() / checkpoint_folder_name(40);
        damage(newest);
        BOOST_TEST(!looks_whole(newest));
        BOOST_TEST(superfluous_checkpoints(scratch.path(), {.keep_last = 1}).size() == 2u);
        BOOST_TEST(names_in(scratch.path()).size() == 4u); // that was a question
        prune_checkpoints(scratch.path(), {.keep_last = 1});
        BOOST_TEST((names_in(scratch.path()) == Names{"030", "040"}));
        // Once there is a newer whole one, it goes with the others.
        make_checkpoint(scratch.path(), 50);
        prune_checkpoints(scratch.path(), {.keep_last = 1});
        BOOST_TEST((names_in(scratch.path()) == Names{"050"}));
    }
}

BOOST_AUTO_TEST_CASE(where_none_is_whole_none_is_deleted)
{
    TemporaryFolder scratch;
    for (const std::int64_t update : {10, 20, 30})
        fs::remove(make_checkpoint(scratch.path(), update) / index_name);
    BOOST_TEST(prune_checkpoints(scratch.path(), {.keep_last = 1}).empty());
    BOOST_TEST(names_in(scratch.path()).size() == 3u);
}

BOOST_AUTO_TEST_CASE(only_finished_checkpoints_are_listed_in_order_of_updates)
{
    TemporaryFolder scratch;
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
    TemporaryFolder scratch;
    make_checkpoint(scratch.path(), 10);
    const Names leftovers = {".update-00000020.partial", ".update-00000005.deleting"};
    const Names strangers = {".update-notes", "notes", ".update-20.partial", ".partial"};
    for (const auto& names : {leftovers, strangers})
        for (const std::string& name : names)
            fs::create_directories(scratch.path() / name / "inside");
    BOOST_TEST(prune_checkpoints(scratch.path(), {.keep_last = 3}).size() == leftovers.size());
    for (const std::string& name : leftovers)
        BOOST_TEST(!fs::exists(scratch.path() / name));
    for (const std::string& name : strangers)
        BOOST_TEST(fs::exists(scratch.path() / name));
    BOOST_TEST(list_checkpoints(scratch.path()).size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_real_checkpoint_survives_pruning_and_a_dead_save)
{
    TemporaryFolder scratch;
    ExampleModel model, later(3, 8);
    const fs::path folder = save(model, scratch.path(), 2);
    // A save that died after one of two stages.
    write_stage_file(scratch.path() / partial_folder_name(8), 0, 2, later.contents(0, 2));
    BOOST_TEST(list_checkpoints(scratch.path()).size() == 1u);
    prune_checkpoints(scratch.path(), {.keep_last = 1});
    BOOST_TEST(!fs::exists(scratch.path() / partial_folder_name(8)));
    BOOST_TEST(first_problem(folder).empty());
}

// Taken for an empty one, a run would begin again from nothing.
BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_read_is_no_empty_folder)
{
    TemporaryFolder scratch;
    BOOST_TEST(list_checkpoints(scratch.path() / "absent").empty());
    const fs::path loop = scratch.path() / "loop";
    fs::create_symlink(loop, loop);
    const std::string message = message_of([&] { list_checkpoints(loop); });
    BOOST_TEST(contains(message, loop.string()), message);
    BOOST_TEST(contains(message, "opendir"), message);
    BOOST_TEST(contains(message_of([&] { prune_checkpoints(loop, {.keep_last = 1}); }), "opendir"));
}

BOOST_AUTO_TEST_SUITE_END()
