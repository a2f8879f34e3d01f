#include "layers/kernels/sum_of_squares.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::SumOfSquares;

namespace {

double launched(const Stream& stream, const TensorView& x)
{
    double result = std::nan("");
    kernels::launch(stream, SumOfSquares{.x = {x}, .results = view_of(&result, {1})});
    return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(sum_of_squares)

BOOST_AUTO_TEST_CASE(reference_sum_of_squares_by_hand)
{
    std::vector<double> x = {3, -4, 12};
    BOOST_TEST(launched(reference, view_of(x.data(), {3})) == 169.0);
}

BOOST_AUTO_TEST_CASE(cpu_sum_of_squares_agrees_with_reference_at_every_edge)
{
    // Squares of floats are exact in float64; two orders of n additions differ by well under n ulp.
    for (const std::int64_t n :
         {1, 7, 8, 9, 15, 16, 17, 63, 65, 4095, 4096, 4097, 8193, 1048576, 1048577, 1100000}) {
        Twin x = Twin::random({n}, static_cast<std::uint64_t>(n));
        const double expected = launched(reference, x.in_float64());
        BOOST_TEST(std::abs(launched(cpu, x.in_float32()) - expected) <= 1e-12 * expected);
    }
}

BOOST_AUTO_TEST_CASE(cpu_sum_of_squares_does_not_overflow_float)
{
    std::vector<float> x = {1e30F, 1e30F};
    BOOST_TEST(std::abs(launched(cpu, view_of(x.data(), {2})) / 2e60 - 1.0) < 1e-6);
}

BOOST_AUTO_TEST_CASE(cpu_sum_of_squares_gives_same_bits_on_any_threads)
{
    Twin x = Twin::random({2000003}, 1);
    const int threads_before = num_threads();
    set_num_threads(1);
    const double expected = launched(cpu, x.in_float32());
    for (const int threads : {2, 3}) {
        set_num_threads(threads);
        BOOST_TEST(launched(cpu, x.in_float32()) == expected);
    }
    set_num_threads(threads_before);
}

BOOST_AUTO_TEST_SUITE_END()
