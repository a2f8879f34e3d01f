#include "layers/kernels/rotary.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;
using kernels::RotaryBackward;
using kernels::RotaryForward;
using kernels::RotaryTable;

BOOST_AUTO_TEST_SUITE(rotary)

BOOST_AUTO_TEST_CASE(every_edge)
{
    // Two products of a rounded table entry and one sum: three roundings of values up to 5. The way
    // back starts from what the way there was rounded to.
    std::uint64_t seed = 1;
    for (const std::int64_t D : {2, 4, 14, 16, 18, 64, 128})
        for (const std::int64_t T : {1, 2, 33})
            check_conformance([&](Case& c) {
                const std::string what = "D " + std::to_string(D) + " T " + std::to_string(T);
                Operand cos = c.poisoned({T + 3, D / 2}, DType::f32);
                Operand sin = c.poisoned({T + 3, D / 2}, DType::f32);
                c.launch(
                    [&](auto side) { return RotaryTable{.cos = side(cos), .sin = side(sin)}; });
                c.check(cos, epsilon, what + " cos");
                c.check(sin, epsilon, what + " sin");
                Operand qkv = c.random({2, T, 3, 3, D}, c.compute(), ++seed);
                c.launch([&](auto side) {
                    return RotaryForward{.qkv = side(qkv), .cos = side(cos), .sin = side(sin)};
                });
                c.check(qkv, 16 * epsilon, what + " forward");
                Operand gradient = c.random({2, T, 3, 3, D}, c.compute(), ++seed);
                c.launch([&](auto side) {
                    return RotaryBackward{
                        .qkv_gradient = side(gradient), .cos = side(cos), .sin = side(sin)};
                });
                c.check(gradient, 16 * epsilon, what + " backward");
                seed -= 2; // the misaligned run gets the same numbers
            });
}

BOOST_AUTO_TEST_SUITE_END()
