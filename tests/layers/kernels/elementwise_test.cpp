#include "layers/kernels/elementwise.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;
using kernels::Add;
using kernels::Copy;
using kernels::Fill;
using kernels::Scale;

namespace {

/// Around vectors, and around the blocks that threads take (16384 floats, 256 KiB).
constexpr std::int64_t sizes[] = {1,     7,     8,     9,     63,    64,    65,
                                  16383, 16384, 16385, 65536, 65537, 100003};

} // namespace

BOOST_AUTO_TEST_SUITE(elementwise)

BOOST_AUTO_TEST_CASE(copy_gives_every_element)
{
    for (const std::int64_t n : sizes) {
        Twin from = Twin::random({n}, 1), to = Twin::poisoned({n});
        launch_both([&](auto side) { return Copy{.from = side(from), .to = side(to)}; });
        BOOST_TEST(to.values == from.values);
        check_close(to, 0.0, "copy");
    }
}

BOOST_AUTO_TEST_CASE(copy_refuses_another_type)
{
    Twin from = Twin::random({3}, 1), to = Twin::poisoned({3});
    BOOST_CHECK_THROW(kernels::launch(cpu, Copy{.from = from.in_float64(), .to = to.in_float32()}),
                      InvariantError);
}

BOOST_AUTO_TEST_CASE(fill_gives_every_element)
{
    for (const std::int64_t n : sizes) {
        Twin to = Twin::poisoned({n});
        launch_both([&](auto side) { return Fill{.to = side(to), .value = -0.375}; });
        BOOST_TEST(std::ranges::count(to.values, -0.375) == n);
        check_close(to, 0.0, "fill");
    }
}

BOOST_AUTO_TEST_CASE(scale_gives_every_element_also_in_place)
{
    for (const std::int64_t n : sizes) {
        Twin x = Twin::random({n}, 1), y = Twin::poisoned({n});
        launch_both([&](auto side) { return Scale{.x = side(x), .y = side(y), .factor = -2.5}; });
        BOOST_TEST(y.values[static_cast<std::size_t>(n - 1)] ==
                   -2.5 * x.values[static_cast<std::size_t>(n - 1)]);
        check_close(y, 16 * epsilon, "scale"); // one rounding of values up to 12
        kernels::launch(cpu, Scale{.x = x.in_float32(), .y = x.in_float32(), .factor = -2.5});
        BOOST_TEST(std::ranges::equal(x.floats(), y.floats()));
    }
}

BOOST_AUTO_TEST_CASE(add_accumulates_every_element)
{
    for (const std::int64_t n : sizes) {
        Twin x = Twin::random({n}, 1), y = Twin::random({n}, 2);
        const double expected = x.values.back() + y.values.back();
        launch_both([&](auto side) { return Add{.x = side(x), .y = side(y)}; });
        BOOST_TEST(y.values.back() == expected);
        check_close(y, 16 * epsilon, "add");
    }
    Twin x = Twin::random({3}, 1), y = Twin::random({4}, 2);
    BOOST_CHECK_THROW(kernels::launch(cpu, Add{.x = x.in_float32(), .y = y.in_float32()}),
                      InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
