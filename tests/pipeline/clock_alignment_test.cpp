#include "pipeline/clock_alignment.hpp"

#include "pipeline/transport/transport.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <random>

using namespace sluice;

namespace {

/// Another rank's clock: ahead, and running fast or slow.
struct FakeClock {
    std::int64_t ahead_ns;
    double drift; ///< extra seconds per second
    std::int64_t at(std::int64_t true_ns) const
    {
        return true_ns + ahead_ns + static_cast<std::int64_t>(drift * static_cast<double>(true_ns));
    }
};

/// Round trips whose two ways take random times, 2 us at least.
std::vector<RoundTrip> trips(const FakeClock& clock, std::int64_t start_ns, std::mt19937& random)
{
    std::vector<RoundTrip> all;
    std::exponential_distribution<double> delay(1.0 / 5000.0);
    for (int i = 0; i < 64; ++i) {
        const std::int64_t there = start_ns + 2000 + static_cast<std::int64_t>(delay(random));
        const std::int64_t back = there + 2000 + static_cast<std::int64_t>(delay(random));
        all.push_back({start_ns, clock.at(there), back});
        start_ns = back + 100;
    }
    return all;
}

} // namespace

BOOST_AUTO_TEST_SUITE(clock_alignment)

BOOST_AUTO_TEST_CASE(the_shortest_round_trip_gives_offset_and_uncertainty)
{
    const RoundTrip all[] = {
        {0, 1'000'900, 1000}, {2000, 1'002'050, 2100}, {3000, 1'003'900, 4000}};
    const ClockOffset offset = estimate_offset(all);
    BOOST_TEST(offset.at_ns == 1'002'050);
    BOOST_TEST(offset.offset_ns == -1'000'000);
    BOOST_TEST(offset.uncertainty_ns == 50);
}

BOOST_AUTO_TEST_CASE(estimates_are_within_their_uncertainty)
{
    std::mt19937 random(5);
    for (int i = 0; i < 100; ++i) {
        const FakeClock clock{std::uniform_int_distribution<std::int64_t>(
                                  -1'000'000'000'000, 1'000'000'000'000)(random),
                              std::uniform_real_distribution<double>(-50e-6, 50e-6)(random)};
        // Two measurements a second apart; in between the clock drifts by up to 50 us.
        const ClockAlignment alignment{estimate_offset(trips(clock, 0, random)),
                                       estimate_offset(trips(clock, 1'000'000'000, random))};
        BOOST_TEST(alignment.uncertainty_ns() < 10'000);
        for (const std::int64_t true_ns : {100'000L, 400'000'000L, 999'000'000L})
            BOOST_TEST(std::abs(alignment.to_reference(clock.at(true_ns)) - true_ns) <=
                       alignment.uncertainty_ns() + 1);
    }
}

BOOST_AUTO_TEST_CASE(times_keep_their_order)
{
    const ClockAlignment alignment{{0, 100, 5}, {1'000'000, -20'000, 5}};
    std::int64_t before = alignment.to_reference(-10);
    for (std::int64_t local = 0; local < 1'000'000; local += 997) {
        const std::int64_t now = alignment.to_reference(local);
        BOOST_TEST(now >= before);
        before = now;
    }
}

BOOST_AUTO_TEST_CASE(one_rank_needs_no_alignment)
{
    const auto transport = make_in_process_transport();
    const auto offsets = measure_offsets(*transport);
    BOOST_REQUIRE(offsets.size() == 1u);
    const ClockAlignment alignment{offsets[0], offsets[0]};
    BOOST_TEST(alignment.to_reference(123) == 123);
    BOOST_TEST(alignment.uncertainty_ns() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
