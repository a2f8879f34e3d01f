#include "core/bfloat16.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(bfloat16)

BOOST_AUTO_TEST_CASE(every_bfloat16_survives_the_way_through_float)
{
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
        const BFloat16 value{static_cast<std::uint16_t>(bits)};
        const float wide = float_of(value);
        if (std::isnan(wide))
            BOOST_REQUIRE(std::isnan(float_of(bfloat16_of(wide))));
        else
            BOOST_REQUIRE_EQUAL(bfloat16_of(wide).bits, value.bits);
    }
}

BOOST_AUTO_TEST_CASE(rounds_to_nearest_and_ties_to_even)
{
    // 8 bits of precision: the neighbours of 1 are 1 - 2^-8 and 1 + 2^-7.
    BOOST_TEST(float_of(bfloat16_of(1.0F + 0x1p-8F)) == 1.0F); // a tie, down to even
    BOOST_TEST(float_of(bfloat16_of(1.0F + 0x1p-8F + 0x1p-20F)) == 1.0F + 0x1p-7F);
    BOOST_TEST(float_of(bfloat16_of(1.0F + 0x1.8p-7F)) == 1.0F + 0x1p-6F); // a tie, up to even
    BOOST_TEST(float_of(bfloat16_of(-1.0F - 0x1p-8F - 0x1p-20F)) == -1.0F - 0x1p-7F);
}

BOOST_AUTO_TEST_CASE(keeps_what_is_not_finite)
{
    constexpr float infinity = std::numeric_limits<float>::infinity();
    BOOST_TEST(float_of(bfloat16_of(infinity)) == infinity);
    BOOST_TEST(float_of(bfloat16_of(std::numeric_limits<float>::max())) == infinity);
    BOOST_TEST(float_of(bfloat16_of(-infinity)) == -infinity);
    // A NaN whose payload lies in the lower half alone must not turn into infinity.
    BOOST_TEST(std::isnan(float_of(bfloat16_of(std::bit_cast<float>(0x7f800001U)))));
    BOOST_TEST(std::signbit(float_of(bfloat16_of(-0.0F))));
}

BOOST_AUTO_TEST_SUITE_END()
