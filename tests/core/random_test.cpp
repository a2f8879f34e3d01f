#include "core/random.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>

using namespace sluice;

namespace {

using Words4 = std::array<std::uint32_t, 4>;
using Words2 = std::array<std::uint32_t, 2>;

void check_known_answer(const Words4& counter, const Words2& key, const Words4& expected)
{
    BOOST_TEST(philox4x32_10(counter, key) == expected, boost::test_tools::per_element());
}

struct Moments {
    double mean = 0.0, variance = 0.0, kurtosis = 0.0;
};

template <class Draw>
Moments moments_of(int count, Draw draw)
{
    double sums[4] = {};
    for (int i = 0; i < count; ++i) {
        const double x = draw(static_cast<std::uint64_t>(i));
        sums[0] += x;
        sums[1] += x * x;
        sums[2] += x * x * x;
        sums[3] += x * x * x * x;
    }
    const double mean = sums[0] / count;
    const double variance = sums[1] / count - mean * mean;
    return {mean, variance, sums[3] / count / (variance * variance)};
}

} // namespace

// The suite opens a namespace of its name, and the C library has a function called random.
namespace core_tests {
BOOST_AUTO_TEST_SUITE(random)

// kat_vectors of the Random123 library, philox4x32 with 10 rounds.
BOOST_AUTO_TEST_CASE(philox_known_answers)
{
    check_known_answer({0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    check_known_answer({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
                       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    check_known_answer({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
                       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

BOOST_AUTO_TEST_CASE(streams_are_pure_functions_and_differ)
{
    const RandomStream a(1, "model.embed_tokens.weight");
    const RandomStream again(1, "model.embed_tokens.weight");
    BOOST_TEST(a.bits(12345) == again.bits(12345));
    std::set<std::uint64_t> seen;
    for (const std::uint64_t seed : {0ull, 1ull, 1ull << 32})
        for (const char* name : {"a", "b", ""})
            for (const std::uint64_t index : {0ull, 1ull, 1ull << 32, 1ull << 63})
                seen.insert(RandomStream(seed, name).bits(index));
    BOOST_TEST(seen.size() == 36u);
}

BOOST_AUTO_TEST_CASE(uniform_fills_the_open_interval)
{
    const RandomStream stream(7, "uniform");
    double lowest = 1.0, highest = 0.0;
    const Moments found = moments_of(100'000, [&](std::uint64_t i) {
        const double x = stream.uniform(i);
        lowest = std::min(lowest, x);
        highest = std::max(highest, x);
        return x;
    });
    BOOST_TEST((lowest > 0.0 && lowest < 1e-4));
    BOOST_TEST((highest < 1.0 && highest > 1.0 - 1e-4));
    BOOST_TEST(std::abs(found.mean - 0.5) < 4e-3);
    BOOST_TEST(std::abs(found.variance - 1.0 / 12.0) < 1.5e-3);
}

// Five standard errors at 200,000 draws.
BOOST_AUTO_TEST_CASE(normal_has_the_moments_of_a_normal)
{
    const RandomStream stream(7, "normal");
    const Moments found = moments_of(200'000, [&](std::uint64_t i) { return stream.normal(i); });
    BOOST_TEST(std::abs(found.mean) < 0.0112);
    BOOST_TEST(std::abs(found.variance - 1.0) < 0.0158);
    BOOST_TEST(std::abs(found.kurtosis - 3.0) < 0.06);
}

// Variance of a standard normal cut at +-b: 1 - 2 b pdf(b) / (2 cdf(b) - 1).
BOOST_AUTO_TEST_CASE(truncated_normal_stays_inside_and_has_its_variance)
{
    for (const double bound : {1.0, 2.0, 3.0}) {
        const RandomStream stream(7, "truncated");
        double widest = 0.0;
        const Moments found = moments_of(200'000, [&](std::uint64_t i) {
            const double x = stream.truncated_normal(i, bound);
            widest = std::max(widest, std::abs(x));
            return x;
        });
        const double pdf = std::exp(-bound * bound / 2.0) / std::sqrt(2.0 * M_PI);
        const double inside = std::erf(bound / std::sqrt(2.0));
        const double variance = 1.0 - 2.0 * bound * pdf / inside;
        BOOST_TEST((widest <= bound && widest > bound - 0.01), "widest " << widest);
        BOOST_TEST(std::abs(found.mean) < 0.0112);
        BOOST_TEST(std::abs(found.variance - variance) < 0.0158);
    }
}

BOOST_AUTO_TEST_SUITE_END()
} // namespace core_tests
