#include "io/skipped_batches.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <set>
#include <vector>

using namespace sluice;

namespace {

/// The first `count` batches that are not in `skipped`, one after the other.
std::vector<std::int64_t> batches_left(const std::set<std::int64_t>& skipped, std::size_t count)
{
    std::vector<std::int64_t> left;
    for (std::int64_t batch = 1; left.size() < count; ++batch)
        if (!skipped.contains(batch))
            left.push_back(batch);
    return left;
}

} // namespace

BOOST_AUTO_TEST_SUITE(skipped_batches)

BOOST_AUTO_TEST_CASE(without_any_each_update_has_its_own_batch)
{
    const SkippedBatches none;
    BOOST_TEST(none.batch_of(1) == 1);
    BOOST_TEST(none.batch_of(1'000'000'000) == 1'000'000'000);
    BOOST_TEST(none.text().empty());
}

BOOST_AUTO_TEST_CASE(updates_behind_a_skipped_range_take_the_batches_behind_it)
{
    SkippedBatches skipped;
    const BatchRange added = skipped.skip_updates(106, 115);
    BOOST_TEST(added.first == 106);
    BOOST_TEST(added.last == 115);
    BOOST_TEST(skipped.batch_of(105) == 105);
    BOOST_TEST(skipped.batch_of(106) == 116);
    BOOST_TEST(skipped.batch_of(200) == 210);
}

BOOST_AUTO_TEST_CASE(skipping_again_counts_from_what_is_left)
{
    SkippedBatches skipped;
    skipped.skip_updates(106, 115);
    const BatchRange added = skipped.skip_updates(103, 112); // 103-105 and 116-122
    BOOST_TEST(added.first == 103);
    BOOST_TEST(added.last == 122);
    BOOST_TEST(skipped.text() == "103-122");
    skipped.skip_updates(200, 200);
    BOOST_TEST(skipped.text() == "103-122, 220");
    skipped.skip_updates(1, 1);
    BOOST_TEST(skipped.text() == "1, 103-122, 220");
}

BOOST_AUTO_TEST_CASE(equals_a_list_that_is_counted_through)
{
    SkippedBatches skipped;
    std::set<std::int64_t> listed;
    const std::vector<std::pair<std::int64_t, std::int64_t>> steps{
        {5, 8}, {5, 5}, {2, 3}, {20, 29}, {19, 21}, {1, 1}, {40, 40}, {38, 41}};
    for (const auto& [first, last] : steps) {
        const auto left = batches_left(listed, 100);
        for (std::int64_t update = first; update <= last; ++update)
            listed.insert(left[static_cast<std::size_t>(update - 1)]);
        skipped.skip_updates(first, last);
        const auto expected = batches_left(listed, 100);
        for (std::int64_t update = 1; update <= 100; ++update)
            BOOST_TEST(skipped.batch_of(update) == expected[static_cast<std::size_t>(update - 1)]);
        BOOST_TEST((SkippedBatches(skipped.flat(), "here") == skipped));
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_list_of_ranges_is_refused)
{
    const auto from = [](std::vector<std::int64_t> flat) { SkippedBatches(flat, "here"); };
    from({});
    from({1, 1, 3, 9});
    for (const std::vector<std::int64_t>& flat :
         std::vector<std::vector<std::int64_t>>{{1},
                                                {0, 1},
                                                {-3, 1},
                                                {5, 4},
                                                {1, 5, 5, 6},
                                                {1, 5, 6, 6},
                                                {7, 9, 1, 2},
                                                {1, INT64_MAX}})
        BOOST_CHECK_THROW(from(flat), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
