#include "layers/kernels/cpu/attention_rows.hpp"

#include "core/random.hpp"
#include "layers/kernels/cpu/lanes.hpp"

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace sluice::kernels {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t room = 80; ///< a multiple of num_wide_lanes

std::vector<float> random_row(const char* name, float factor)
{
    const RandomStream random(3, name);
    std::vector<float> row(room);
    for (std::size_t i = 0; i < row.size(); ++i)
        row[i] = factor * static_cast<float>(random.normal(i));
    return row;
}

using Halves = std::vector<BFloat16>;

Halves poisoned() { return Halves(room, BFloat16{0x7fc0}); }

/// exp(x) as eight lanes have it, to the bit.
float exp_of(float x) { return exp(broadcast(x))[0]; }

bool skipped()
{
    if (has_wide_lanes())
        return false;
    std::puts("skipped: this processor has no AVX-512");
    return true;
}

BOOST_AUTO_TEST_SUITE(attention_rows)

BOOST_AUTO_TEST_CASE(weights_are_those_of_a_softmax)
{
    if (skipped())
        return;
    const std::vector<float> scores = random_row("scores", 4.0F);
    for (std::int64_t visible = 1; visible <= 70; ++visible)
        for (const std::int64_t num_keys : {visible, visible + 1, std::int64_t{70}})
            for (const float old_maximum : {-infinity, 0.5F, 20.0F}) {
                Halves weights = poisoned();
                const RowSum sum = softmax_row({scores.data(), visible, num_keys, 0.125F},
                                               old_maximum, weights.data());
                float maximum = old_maximum;
                for (std::int64_t key = 0; key < visible; ++key)
                    maximum = std::max(maximum, 0.125F * scores[static_cast<std::size_t>(key)]);
                BOOST_TEST(sum.maximum == maximum);
                double expected_sum = 0.0;
                for (std::int64_t key = 0; key < num_keys; ++key) {
                    const auto at = static_cast<std::size_t>(key);
                    const float expected =
                        key < visible ? exp_of(0.125F * scores[at] - maximum) : 0.0F;
                    expected_sum += expected;
                    BOOST_TEST(weights[at].bits == bfloat16_of(expected).bits,
                               "key " << key << ", " << visible << " of " << num_keys);
                }
                BOOST_TEST(sum.weights == expected_sum, boost::test_tools::tolerance(1e-6));
            }
}

BOOST_AUTO_TEST_CASE(gradients_of_scores)
{
    if (skipped())
        return;
    const std::vector<float> scores = random_row("scores", 4.0F), dp = random_row("dp", 1.0F);
    for (std::int64_t visible = 1; visible <= 70; ++visible)
        for (const std::int64_t num_keys : {visible, visible + 1, std::int64_t{70}}) {
            Halves p = poisoned(), ds = poisoned();
            score_gradient_row({scores.data(), visible, num_keys, 0.125F}, {dp.data(), 1.5F, 0.25F},
                               p.data(), ds.data());
            for (std::int64_t key = 0; key < num_keys; ++key) {
                const auto at = static_cast<std::size_t>(key);
                const float weight = key < visible ? exp_of(0.125F * scores[at] - 1.5F) : 0.0F;
                BOOST_TEST(p[at].bits == bfloat16_of(weight).bits, "key " << key);
                BOOST_TEST(float_of(ds[at]) == float_of(bfloat16_of(weight * (dp[at] - 0.25F))),
                           "key " << key);
            }
        }
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_shows)
{
    if (skipped())
        return;
    std::vector<float> scores = random_row("scores", 100.0F);
    scores[3] = 1000.0F; // weights far below it are 0, or no normal numbers
    Halves weights = poisoned();
    const auto sum_of_weights = [&] {
        return softmax_row({scores.data(), 37, 40, 1.0F}, -infinity, weights.data()).weights;
    };
    BOOST_TEST(std::isfinite(sum_of_weights()));
    for (std::size_t key = 0; key < 40; ++key)
        BOOST_TEST(float_of(weights[key]) == (key == 3 ? 1.0F : 0.0F), "key " << key);
    scores[5] = std::bit_cast<float>(0x7fffffffU); // a NaN that would round up to -0
    BOOST_TEST(std::isnan(sum_of_weights()));
    BOOST_TEST(std::isnan(float_of(weights[5])));
    scores[5] = 0.0F;
    scores[37] = std::numeric_limits<float>::quiet_NaN(); // behind the row: read for nothing
    BOOST_TEST(std::isfinite(sum_of_weights()));
    BOOST_TEST(float_of(weights[37]) == 0.0F);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice::kernels
