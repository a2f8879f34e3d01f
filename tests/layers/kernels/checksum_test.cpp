#include "layers/kernels/checksum.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numeric>

using namespace sluice;
using namespace sluice::testing;
using kernels::Checksum;

namespace {

double launched(const Stream& stream, const TensorView& x)
{
    double result = std::nan("");
    kernels::launch(stream, Checksum{.x = x, .result = view_of(&result, {1})});
    return result;
}

} // namespace

BOOST_AUTO_TEST_SUITE(checksum)

BOOST_AUTO_TEST_CASE(a_term_is_an_output_of_splitmix64)
{
    // The first from seed 0.
    BOOST_TEST(kernels::checksum_term(kernels::checksum_step) == 0xe220a8397b1dcdafU);
}

BOOST_AUTO_TEST_CASE(numbers_computed_elsewhere)
{
    std::vector<std::int32_t> x = {1, -2, 3, -4, 5};
    std::vector<float> y = {1, 2, 3};
    std::int32_t zero = 0;
    for (const Stream& stream : {reference, cpu}) {
        BOOST_TEST(launched(stream, view_of(&zero, {0})) == 0.0);
        BOOST_TEST(launched(stream, view_of(&zero, {1})) == 184964832153007.0);
        BOOST_TEST(launched(stream, view_of(x.data(), {5})) == 1259414387790576.0);
        BOOST_TEST(launched(stream, view_of(y.data(), {3})) == 2197839792884011.0);
    }
}

BOOST_AUTO_TEST_CASE(zeros_count_by_their_number)
{
    const std::vector<float> zeros(100);
    std::vector<double> sums;
    for (std::int64_t n = 2; n <= 100; n += 2)
        sums.push_back(launched(cpu, view_of(const_cast<float*>(zeros.data()), {n})));
    std::sort(sums.begin(), sums.end());
    BOOST_TEST((std::adjacent_find(sums.begin(), sums.end()) == sums.end()));
}

BOOST_AUTO_TEST_CASE(cpu_checksum_is_the_same_on_any_threads)
{
    std::vector<std::int32_t> x(2'000'003);
    std::iota(x.begin(), x.end(), 7);
    const TensorView view = view_of(x.data(), {2'000'003});
    const double expected = launched(reference, view);
    const int threads_before = num_threads();
    for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        BOOST_TEST(launched(cpu, view) == expected);
    }
    set_num_threads(threads_before);
}

BOOST_AUTO_TEST_SUITE_END()
