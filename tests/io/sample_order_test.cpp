#include "io/sample_order.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <vector>

using namespace sluice;

namespace {

std::vector<std::uint64_t> epoch(const SampleOrder& order, std::uint64_t number)
{
    std::vector<std::uint64_t> windows;
    for (std::uint64_t i = 0; i < order.num_windows(); ++i)
        windows.push_back(order.window_of(number * order.num_windows() + i));
    return windows;
}

bool holds_every_window_once(const std::vector<std::uint64_t>& windows)
{
    std::vector<int> seen(windows.size(), 0);
    for (const std::uint64_t window : windows)
        if (window >= windows.size() || ++seen[window] > 1)
            return false;
    return true;
}

/// Pearson's statistic of counts that should all be `expected`.
double chi_square(const std::vector<std::uint64_t>& counts, double expected)
{
    double sum = 0.0;
    for (const std::uint64_t count : counts) {
        const double off = static_cast<double>(count) - expected;
        sum += off * off / expected;
    }
    return sum;
}

/// Six standard deviations above the mean of a chi-square variable: one false alarm in a billion.
double bound(double degrees) { return degrees + 6.0 * std::sqrt(2.0 * degrees) + 12.0; }

} // namespace

BOOST_AUTO_TEST_SUITE(sample_order)

BOOST_AUTO_TEST_CASE(windows_share_one_token_with_the_next)
{
    BOOST_TEST(num_windows_of(0, 4) == 0u);
    BOOST_TEST(num_windows_of(4, 4) == 0u);
    BOOST_TEST(num_windows_of(5, 4) == 1u);
    BOOST_TEST(num_windows_of(8, 4) == 1u);
    BOOST_TEST(num_windows_of(9, 4) == 2u);
}

BOOST_AUTO_TEST_CASE(updates_take_their_samples_in_a_row)
{
    BOOST_TEST(first_sample_of_batch(1, 10) == 0u);
    BOOST_TEST(first_sample_of_batch(4, 10) == 30u);
    BOOST_TEST(first_sample_of_microbatch(4, 0, 10, 2) == 30u);
    BOOST_TEST(first_sample_of_microbatch(4, 4, 10, 2) == 38u);
    // Beyond 32 bits: 2^24 updates of 2^12 sequences.
    BOOST_TEST(first_sample_of_batch((1 << 24) + 1, 1 << 12) == std::uint64_t{1} << 36);
}

BOOST_AUTO_TEST_CASE(every_epoch_has_every_window_once)
{
    for (const std::uint64_t num_windows : {1, 2, 3, 4, 5, 7, 12, 100, 1000, 1024, 4097})
        for (const std::uint64_t seed : {0, 1, 77})
            for (const std::uint64_t number : {0, 1, 5})
                BOOST_TEST(holds_every_window_once(epoch(SampleOrder(seed, num_windows), number)),
                           num_windows << " windows, seed " << seed << ", epoch " << number);
}

BOOST_AUTO_TEST_CASE(epochs_and_seeds_differ)
{
    const SampleOrder order(3, 1000);
    BOOST_TEST((epoch(order, 0) != epoch(order, 1)));
    BOOST_TEST((epoch(order, 0) != epoch(SampleOrder(4, 1000), 0)));
    BOOST_TEST((epoch(order, 7) == epoch(SampleOrder(3, 1000), 7)));
}

BOOST_AUTO_TEST_CASE(the_order_never_changes)
{
    // Saved runs depend on it: these numbers may only change with a new major version.
    const SampleOrder order(1234, 4097);
    const std::vector<std::uint64_t> first{order.window_of(0), order.window_of(1),
                                           order.window_of(2), order.window_of(4097),
                                           order.window_of(1'000'000'007)};
    const std::vector<std::uint64_t> expected{1149, 1909, 2153, 1894, 2706};
    BOOST_TEST(first == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(every_window_is_as_likely_at_every_place)
{
    constexpr std::uint64_t num_epochs = 4000;
    for (const std::uint64_t n : {2, 3, 7, 16}) {
        const SampleOrder order(9, n);
        std::vector<std::uint64_t> counts(n * n, 0); // [place, window]
        for (std::uint64_t number = 0; number < num_epochs; ++number)
            for (std::uint64_t place = 0; place < n; ++place)
                ++counts[place * n + order.window_of(number * n + place)];
        const double statistic = chi_square(counts, static_cast<double>(num_epochs) / n);
        const double degrees = static_cast<double>((n - 1) * (n - 1));
        BOOST_TEST(statistic < bound(degrees), n << " windows: " << statistic);
    }
}

BOOST_AUTO_TEST_CASE(all_orders_of_three_windows_are_as_likely)
{
    constexpr std::uint64_t num_epochs = 6000;
    std::map<std::vector<std::uint64_t>, std::uint64_t> orders;
    const SampleOrder order(2, 3);
    for (std::uint64_t number = 0; number < num_epochs; ++number)
        ++orders[epoch(order, number)];
    BOOST_REQUIRE(orders.size() == 6u);
    std::vector<std::uint64_t> counts;
    for (const auto& [windows, count] : orders)
        counts.push_back(count);
    BOOST_TEST(chi_square(counts, num_epochs / 6.0) < bound(5.0));
}

BOOST_AUTO_TEST_CASE(neighbours_in_the_order_are_not_neighbours_in_the_file)
{
    constexpr std::uint64_t n = 4097, num_bins = 16;
    const SampleOrder order(5, n);
    std::vector<std::uint64_t> counts(num_bins, 0);
    for (std::uint64_t i = 0; i + 1 < n; ++i) {
        const std::uint64_t step = (order.window_of(i + 1) + n - order.window_of(i)) % n;
        ++counts[step * num_bins / n];
    }
    const double expected = static_cast<double>(n - 1) / num_bins;
    BOOST_TEST(chi_square(counts, expected) < bound(num_bins - 1.0));
}

BOOST_AUTO_TEST_SUITE_END()
