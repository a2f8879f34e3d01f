// Which block works on what.
#include "tests/layers/kernels/cuda/device_language_emulated.hpp"

#include "layers/kernels/cuda/attention_tiles.cuh"

#include <boost/test/unit_test.hpp>
#include <set>

using namespace sluice::kernels;
using emulated::BlockOrder;

BOOST_AUTO_TEST_SUITE(attention_tiles)

BOOST_AUTO_TEST_CASE(every_tile_of_every_head_has_one_block)
{
    // Groups that divide the heads, that do not, of one head, and of all.
    for (const BlockOrder order :
         {BlockOrder{12, 3, 4}, BlockOrder{10, 3, 4}, BlockOrder{7, 5, 1}, BlockOrder{6, 2, 6}}) {
        std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
        std::uint32_t group = 0, turn = 0;
        for (std::uint32_t block = 0; block < order.heads * order.num_tiles; ++block) {
            const auto at = order.place_of(block);
            BOOST_REQUIRE(at.head < order.heads && at.turn < order.num_tiles);
            BOOST_REQUIRE(seen.emplace(at.head, at.turn).second);
            // One group after another, and within it one turn after another.
            BOOST_REQUIRE_GE(at.head / order.group, group);
            if (at.head / order.group == group)
                BOOST_REQUIRE_GE(at.turn, turn);
            group = at.head / order.group;
            turn = at.turn;
        }
    }
}

BOOST_AUTO_TEST_CASE(what_a_group_reads_stays_in_the_cache)
{
    // 1,024 positions of 64 channels: 256 KiB of keys and values for each head.
    BOOST_TEST(emulated::block_order({64, 1024, 12, 64}, 8).group == 64U);
    // Never more than there are, never none.
    BOOST_TEST(emulated::block_order({1, 1024, 3, 64}, 8).group == 3U);
    BOOST_TEST(emulated::block_order({1, 1 << 20, 3, 128}, 8).group == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
