#include "src/train/ancestry.hpp"

#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>
#include <fstream>
#include <nlohmann/json.hpp>

namespace sluice::testing {
namespace {

namespace fs = std::filesystem;

/// A project of two runs, in which `branch` has begun with a checkpoint of `trunk`.
struct Project {
    TemporaryFolder folder;
    fs::path root = folder / "project";

    Project() { fs::create_directories(checkpoint()); }

    fs::path trunk() const { return root / "trunk"; }
    fs::path checkpoint() const { return trunk() / "checkpoints/update-00000004"; }
    fs::path branch() const { return root / "branch"; }
    fs::path checkpoints() const { return branch() / "checkpoints"; }

    void start(const fs::path& from, bool with_relative = true) const
    {
        fs::create_directories(checkpoints());
        nlohmann::json row{{"event", "start"}, {"resumed_from", from.string()}};
        if (with_relative)
            row["resumed_from_relative"] = path_from_run_folder(branch(), from);
        std::ofstream(branch() / "metrics.jsonl", std::ios::app) << row << "\n";
    }
    void move_to(const fs::path& place)
    {
        fs::rename(root, place);
        root = place;
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(ancestry)

BOOST_AUTO_TEST_CASE(a_run_descends_from_the_run_and_the_checkpoint_that_it_began_with)
{
    for (const bool with_relative : {true, false}) { // metrics of earlier versions have none
        const Project project;
        project.start(project.checkpoint(), with_relative);
        project.start(project.checkpoints() / "update-00000007", with_relative);
        BOOST_TEST(descends_from(project.checkpoint(), project.checkpoints()));
        BOOST_TEST(descends_from(project.trunk(), project.checkpoints()));
        BOOST_TEST(descends_from(project.trunk() / "", project.checkpoints()));
        BOOST_TEST(!descends_from(project.root / "other", project.checkpoints()));
        BOOST_TEST(!descends_from(project.checkpoint().parent_path() / "update-00000005",
                                  project.checkpoints()));
    }
}

BOOST_AUTO_TEST_CASE(after_another_beginning_it_descends_from_it_no_more)
{
    const Project project;
    project.start(project.checkpoint());
    project.start(project.root / "third/checkpoints/update-00000002");
    BOOST_TEST(!descends_from(project.trunk(), project.checkpoints()));
    BOOST_TEST(descends_from(project.root / "third", project.checkpoints()));
    project.start({});
    BOOST_TEST(!descends_from(project.root / "third", project.checkpoints()));
}

BOOST_AUTO_TEST_CASE(moved_together_both_are_known_again)
{
    Project project;
    project.start(project.checkpoint());
    project.start(project.checkpoints() / "update-00000007");
    project.move_to(project.folder / "moved");
    BOOST_TEST(descends_from(project.checkpoint(), project.checkpoints()));
    BOOST_TEST(descends_from(project.trunk(), project.checkpoints()));
}

BOOST_AUTO_TEST_CASE(checkpoints_may_be_a_link_to_elsewhere)
{
    Project project;
    fs::create_directories(project.folder / "scratch/checkpoints");
    fs::create_directories(project.branch());
    fs::create_directory_symlink(project.folder / "scratch/checkpoints", project.checkpoints());
    project.start(project.checkpoint());
    project.move_to(project.folder / "moved");
    BOOST_TEST(descends_from(project.trunk(), project.checkpoints()));
    BOOST_TEST((begun_with(project.checkpoints())->path == project.checkpoint()));
}

BOOST_AUTO_TEST_CASE(a_run_begins_again_with_what_lies_where_it_lay_or_was_moved_to)
{
    Project project;
    BOOST_TEST(!begun_with(project.checkpoints()));
    project.start(project.checkpoint());
    BOOST_TEST((begun_with(project.checkpoints())->path == project.checkpoint()));
    const fs::path old = project.checkpoint();
    project.move_to(project.folder / "moved");
    BOOST_TEST((begun_with(project.checkpoints())->path == project.checkpoint()));
    fs::remove_all(project.trunk());
    BOOST_TEST((begun_with(project.checkpoints())->path == old)); // to be said
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace sluice::testing
