#include "layers/kernels/cpu/lanes.hpp"

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace sluice::kernels;

namespace {

float exp_of(float x) { return exp(broadcast(x))[3]; }

} // namespace

BOOST_AUTO_TEST_SUITE(lanes)

BOOST_AUTO_TEST_CASE(exp_is_within_an_ulp_and_a_half)
{
    double worst = 0.0;
    for (double x = -87.3; x < 88.0; x += 1.0 / 8192) {
        const auto argument = static_cast<float>(x);
        const double expected = std::exp(static_cast<double>(argument));
        const auto rounded = static_cast<float>(expected);
        const double ulp = static_cast<double>(
            std::nextafter(rounded, std::numeric_limits<float>::infinity()) - rounded);
        worst = std::max(worst, std::abs(static_cast<double>(exp_of(argument)) - expected) / ulp);
    }
    BOOST_TEST(worst < 1.5);
    BOOST_TEST(worst > 0.4); // no float function is better: the test can see an error
}

BOOST_AUTO_TEST_CASE(exp_at_the_ends)
{
    constexpr float infinity = std::numeric_limits<float>::infinity();
    BOOST_TEST(exp_of(0.0F) == 1.0F);
    BOOST_TEST(exp_of(-0.0F) == 1.0F);
    BOOST_TEST(exp_of(-infinity) == 0.0F);
    BOOST_TEST(exp_of(-88.0F) == 0.0F);
    BOOST_TEST(exp_of(1000.0F) == exp_of(88.0F));
    BOOST_TEST(exp_of(infinity) == exp_of(88.0F));
    BOOST_TEST(std::isnan(exp_of(std::nanf(""))));
}

BOOST_AUTO_TEST_CASE(bfloat16_is_widened_exactly_and_rounded_as_one_number_is)
{
    constexpr float infinity = std::numeric_limits<float>::infinity();
    std::vector<float> floats{0.0F,     -0.0F,     1.0F,          0x1.01p0F,  0x1.03p0F,
                              infinity, -infinity, std::nanf(""), 3.4e38F,    -1e-40F,
                              1e-45F,   0x1.fep0F, 0x1.ff8p0F,    0x1.00fp9F, -7.0F};
    floats.push_back(std::bit_cast<float>(0x7f800001U)); // NaN in its lowest bit only
    for (std::size_t count = 1; count <= 8; ++count)
        for (std::size_t first = 0; first + count <= floats.size(); ++first) {
            std::vector<sluice::BFloat16> rounded(8, {0xa5a5});
            Lanes lanes{};
            for (std::size_t i = 0; i < count; ++i)
                lanes[i] = floats[first + i];
            store(rounded.data(), lanes, static_cast<int>(count));
            const Lanes back = load(rounded.data(), static_cast<int>(count));
            for (std::size_t i = 0; i < 8; ++i) {
                const auto expected =
                    i < count ? sluice::bfloat16_of(floats[first + i]) : sluice::BFloat16{0xa5a5};
                BOOST_TEST(rounded[i].bits == expected.bits);
                const float widened = i < count ? sluice::float_of(expected) : 0.0F;
                BOOST_TEST(std::bit_cast<std::uint32_t>(static_cast<float>(back[i])) ==
                           std::bit_cast<std::uint32_t>(widened));
            }
        }
}

BOOST_AUTO_TEST_CASE(sum_adds_every_lane_once)
{
    BOOST_TEST(sum(Lanes{1, 2, 4, 8, 16, 32, 64, 128}) == 255.0F);
}

BOOST_AUTO_TEST_CASE(chunks_cover_a_range_once)
{
    for (const std::int64_t n : {0, 1, 7, 8, 9, 16, 23}) {
        std::vector<int> visits(static_cast<std::size_t>(n), 0);
        for_each_chunk(n, [&](std::int64_t first, auto count) {
            for (int i = 0; i < count; ++i)
                ++visits[static_cast<std::size_t>(first + i)];
        });
        BOOST_TEST(std::ranges::count(visits, 1) == n);
    }
}

BOOST_AUTO_TEST_CASE(part_of_the_lanes_is_loaded_and_stored)
{
    const float from[num_lanes] = {1, 2, 3, 4, 5, 6, 7, 8};
    BOOST_TEST(sum(load(from, 3)) == 6.0F);
    float to[num_lanes] = {};
    store(to, load(from), 5);
    BOOST_TEST(to[4] == 5.0F);
    BOOST_TEST(to[5] == 0.0F);
}

BOOST_AUTO_TEST_SUITE_END()
