#include "layers/kernels/swiglu.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;
using kernels::SwigluBackward;
using kernels::SwigluForward;

namespace {

void check_shape(std::int64_t rows, std::int64_t channels, std::uint64_t seed, double scale,
                 double bound)
{
    check_conformance([=](Case& c) {
        const std::string what = std::to_string(rows) + "x" + std::to_string(channels);
        Operand gate_up = c.random({rows, 2 * channels}, c.compute(), seed, scale);
        Operand dh = c.random({rows, channels}, c.compute(), seed + 1);
        Operand h = c.poisoned({rows, channels}, c.compute());
        Operand gradient = c.poisoned({rows, 2 * channels}, c.compute());
        c.launch([&](auto side) { return SwigluForward{.gate_up = side(gate_up), .h = side(h)}; });
        c.launch([&](auto side) {
            return SwigluBackward{
                .dh = side(dh), .gate_up = side(gate_up), .gate_up_gradient = side(gradient)};
        });
        c.check(h, bound, what + " h");
        c.check(gradient, bound, what + " gradient");
        c.launch_tested([&](auto side) { // in place: the same bits
            return SwigluBackward{
                .dh = side(dh), .gate_up = side(gate_up), .gate_up_gradient = side(gate_up)};
        });
        BOOST_TEST((c.bits_of(gate_up) == c.bits_of(gradient)), c.name(what) << " in place");
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(swiglu)

BOOST_AUTO_TEST_CASE(every_edge)
{
    // A dozen roundings of products up to about 100 (gate 8, up 8, dh 4).
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {1, 7, 8, 9, 63, 64, 65, 171})
        for (const std::int64_t rows : {1, 2, 33})
            check_shape(rows, channels, seed++, 2.0, 100 * epsilon);
    check_shape(3, 2049, seed, 2.0, 100 * epsilon);
}

BOOST_AUTO_TEST_CASE(large_gates_stay_finite) { check_shape(4, 64, 3, 200.0, 4e5 * 4 * epsilon); }

BOOST_AUTO_TEST_SUITE_END()
