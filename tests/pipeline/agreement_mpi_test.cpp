// np: 2 3
#include "pipeline/agreement.hpp"

#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>

using namespace sluice;
using sluice::testing::shared_transport;

BOOST_AUTO_TEST_SUITE(agreement)

BOOST_AUTO_TEST_CASE(the_smallest_is_the_same_on_all_ranks)
{
    Transport& world = shared_transport();
    const auto rank = static_cast<std::size_t>(world.rank());
    const auto from_the_end = static_cast<std::size_t>(world.num_ranks()) - 1 - rank;
    constexpr std::size_t many = (std::size_t{1} << 53) - 10;
    BOOST_TEST(least_of_all(world, many + rank) == many);         // rank 0's
    BOOST_TEST(least_of_all(world, many + from_the_end) == many); // the last one's
    BOOST_TEST(least_of_all(world, rank == 0 ? 7 : 0) == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_so_on_one_rank_all_learn)
{
    Transport& world = shared_transport();
    for (int only = 0; only < world.num_ranks(); ++only)
        BOOST_TEST(on_any_rank(world, world.rank() == only));
    BOOST_TEST(!on_any_rank(world, false));
}

BOOST_AUTO_TEST_CASE(all_ranks_learn_of_an_error_of_one)
{
    Transport& world = shared_transport();
    const int last = world.num_ranks() - 1;
    const auto names_the_last = [&](const AgreedError& error) {
        return error.code() == ExitCode::data && error.problem() == "torn" &&
               error.where() == "rank " + std::to_string(last) + ": file";
    };
    BOOST_CHECK_EXCEPTION(agree(world,
                                [&] {
                                    if (world.rank() == last)
                                        throw data_error("torn", "file", "take another");
                                }),
                          AgreedError, names_the_last);
    const auto names_the_file = [&](const AgreedError& error) {
        return error.code() == ExitCode::data && error.where() == "/dev/null/x" &&
               error.problem() == "Not a directory" && !error.remedy().empty();
    };
    BOOST_CHECK_EXCEPTION(agree(world, [] { return std::filesystem::file_size("/dev/null/x"); }),
                          AgreedError, names_the_file);
    agree(world, [] {});
    BOOST_TEST(text_of_rank_zero(world, "of " + std::to_string(world.rank())) == "of 0");
}

BOOST_AUTO_TEST_SUITE_END()
