#include "layers/kernels/elementwise.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;

namespace {

/// Around chunks (8) and blocks of threads (2048 elements).
constexpr std::int64_t sizes[] = {1, 7, 8, 9, 255, 2047, 2048, 2049, 5003};

} // namespace

BOOST_AUTO_TEST_SUITE(elementwise)

BOOST_AUTO_TEST_CASE(every_element)
{
    for (const std::int64_t n : sizes)
        check_conformance([n](Case& c) {
            const std::string what = std::to_string(n);
            Operand x = c.random({n}, c.compute(), 1), y = c.random({n}, c.compute(), 2);
            Operand copy = c.poisoned({n}, c.compute()), filled = c.poisoned({n}, c.compute());
            Operand scaled = c.poisoned({n}, c.compute());
            c.launch([&](auto side) { return kernels::Copy{.from = side(x), .to = side(copy)}; });
            c.launch([&](auto side) { return kernels::Fill{.to = side(filled), .value = -0.375}; });
            c.launch([&](auto side) {
                return kernels::Scale{.x = side(x), .y = side(scaled), .factor = -2.5};
            });
            c.launch([&](auto side) { return kernels::Add{.x = side(x), .y = side(y)}; });
            c.check_exactly(copy, what + " copy");
            c.check_exactly(filled, what + " fill");
            c.check(scaled, 0.0, what + " scale"); // one rounding
            c.check(y, 0.0, what + " add");
            c.launch([&](auto side) {
                return kernels::Scale{.x = side(x), .y = side(x), .factor = -2.5};
            });
            c.check(x, 0.0, what + " scale in place");
        });
}

BOOST_AUTO_TEST_SUITE_END()
