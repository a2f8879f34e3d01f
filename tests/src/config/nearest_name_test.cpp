#include "src/config/nearest_name.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(nearest_name)

BOOST_AUTO_TEST_CASE(distances_count_single_edits)
{
    BOOST_TEST(edit_distance("", "") == 0);
    BOOST_TEST(edit_distance("abc", "") == 3);
    BOOST_TEST(edit_distance("", "ab") == 2);
    BOOST_TEST(edit_distance("kitten", "sitting") == 3);
    BOOST_TEST(edit_distance("linaer", "linear") == 1); // neighbours swapped
    BOOST_TEST(edit_distance("ca", "abc") == 3);        // no edits inside a swap
}

BOOST_AUTO_TEST_CASE(names_the_nearest_or_none)
{
    const std::vector<std::string> words{"num_layers", "num_heads", "hidden_size"};
    BOOST_TEST(sluice::nearest_name("num_head", words) == "num_heads");
    BOOST_TEST(sluice::nearest_name("num-Layers", words) == "num_layers");
    BOOST_TEST(sluice::nearest_name("hidden", words) == "hidden_size"); // a beginning
    BOOST_TEST(sluice::nearest_name("square", {"linear", "linear-square"}) == "linear-square");
    BOOST_TEST(sluice::nearest_name("nu", words).empty());
    BOOST_TEST(sluice::nearest_name("dropout", words).empty());
    BOOST_TEST(sluice::nearest_name("", words).empty());
    BOOST_TEST(sluice::nearest_name("num_heads", {}).empty());
}

BOOST_AUTO_TEST_CASE(works_for_flags_and_subcommands)
{
    BOOST_TEST(sluice::nearest_name("--rundir", {"--run-dir", "--resume"}) == "--run-dir");
    BOOST_TEST(sluice::nearest_name("-resume", {"--run-dir", "--resume"}) == "--resume");
    BOOST_TEST(sluice::nearest_name("trian", {"train", "eval", "plan"}) == "train");
}

BOOST_AUTO_TEST_SUITE_END()
