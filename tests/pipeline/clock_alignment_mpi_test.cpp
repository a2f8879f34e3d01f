// np: 2 3
#include "pipeline/clock_alignment.hpp"
#include "tests/mpi_session.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdlib>

using namespace sluice;
using sluice::testing::shared_transport;

namespace {

/// Ranks of one machine share its steady clock, so their offsets are known: what is added here.
std::int64_t ahead_ns() { return 7'000'000'000 * shared_transport().rank(); }

std::int64_t shifted_now() { return steady_now_ns() + ahead_ns(); }

} // namespace

BOOST_AUTO_TEST_SUITE(clock_alignment)

BOOST_AUTO_TEST_CASE(known_offsets_are_found_within_the_uncertainty)
{
    Transport& transport = shared_transport();
    const auto offsets = measure_offsets(transport, shifted_now);
    if (transport.rank() != 0) {
        BOOST_TEST(offsets.empty());
        return;
    }
    BOOST_REQUIRE(offsets.size() == static_cast<std::size_t>(transport.num_ranks()));
    for (int rank = 1; rank < transport.num_ranks(); ++rank) {
        const ClockOffset& offset = offsets[static_cast<std::size_t>(rank)];
        BOOST_TEST(offset.uncertainty_ns > 0);
        BOOST_TEST(std::abs(offset.offset_ns + 7'000'000'000 * rank) <= offset.uncertainty_ns);
    }
}

BOOST_AUTO_TEST_SUITE_END()
