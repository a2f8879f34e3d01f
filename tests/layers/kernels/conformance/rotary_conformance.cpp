#include "layers/kernels/rotary.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;
using kernels::RotaryBackward;
using kernels::RotaryForward;
using kernels::RotaryTable;

namespace {

/// Two products of a rounded table entry and one sum: three roundings of values up to 5. The way
/// back starts from what the way there was rounded to.
void check_shape(std::int64_t T, std::int64_t H, std::int64_t D, std::uint64_t seed)
{
    check_conformance([=](Case& c) {
        const std::string what =
            "T " + std::to_string(T) + " H " + std::to_string(H) + " D " + std::to_string(D);
        Operand cos = c.poisoned({T + 3, D / 2}, DType::f32);
        Operand sin = c.poisoned({T + 3, D / 2}, DType::f32);
        c.launch([&](auto side) { return RotaryTable{.cos = side(cos), .sin = side(sin)}; });
        c.check(cos, epsilon, what + " cos");
        c.check(sin, epsilon, what + " sin");
        Operand qkv = c.random({2, T, 3, H, D}, c.compute(), seed);
        c.launch([&](auto side) {
            return RotaryForward{.qkv = side(qkv), .cos = side(cos), .sin = side(sin)};
        });
        c.check(qkv, 16 * epsilon, what + " forward");
        Operand gradient = c.random({2, T, 3, H, D}, c.compute(), seed + 1);
        c.launch([&](auto side) {
            return RotaryBackward{
                .qkv_gradient = side(gradient), .cos = side(cos), .sin = side(sin)};
        });
        c.check(gradient, 16 * epsilon, what + " backward");
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(rotary)

BOOST_AUTO_TEST_CASE(every_edge)
{
    std::uint64_t seed = 1;
    for (const std::int64_t D : {2, 4, 14, 16, 18, 64, 128})
        for (const std::int64_t T : {1, 2, 33})
            check_shape(T, 3, D, seed += 2);
}

BOOST_AUTO_TEST_CASE(more_heads_than_a_warp_turns_at_once)
{
    std::uint64_t seed = 1;
    for (const std::int64_t H : {4, 9, 17})
        check_shape(3, H, 64, seed += 2);
    for (const std::int64_t D : {2, 16, 18, 80})
        check_shape(3, 40, D, seed += 2);
}

BOOST_AUTO_TEST_CASE(heads_longer_than_a_warp) { check_shape(2, 2, 528, 1); }

BOOST_AUTO_TEST_SUITE_END()
