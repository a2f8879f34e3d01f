#include "layers/kernels/swiglu.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::SwigluBackward;
using kernels::SwigluForward;

namespace {

struct Tensors {
    Tensors(std::int64_t rows, std::int64_t channels, std::uint64_t seed, double scale = 2.0)
        : gate_up(Twin::random({rows, 2 * channels}, seed, scale)),
          h(Twin::poisoned({rows, channels})), dh(Twin::random({rows, channels}, seed + 1)),
          gate_up_gradient(Twin::poisoned({rows, 2 * channels}))
    {
    }

    auto forward()
    {
        return [this](auto side) { return SwigluForward{.gate_up = side(gate_up), .h = side(h)}; };
    }
    auto backward()
    {
        return [this](auto side) {
            return SwigluBackward{.dh = side(dh),
                                  .gate_up = side(gate_up),
                                  .gate_up_gradient = side(gate_up_gradient)};
        };
    }

    Twin gate_up, h, dh, gate_up_gradient;
};

TensorView in_float64(Twin& twin) { return twin.in_float64(); }
TensorView in_float32(Twin& twin) { return twin.in_float32(); }

} // namespace

BOOST_AUTO_TEST_SUITE(swiglu)

BOOST_AUTO_TEST_CASE(reference_swiglu_by_hand)
{
    std::vector<double> gate_up = {0, 1, 5, 3}, h(2);
    kernels::launch(reference, SwigluForward{.gate_up = view_of(gate_up.data(), {1, 4}),
                                             .h = view_of(h.data(), {1, 2})});
    BOOST_TEST(h[0] == 0.0);
    BOOST_TEST(std::abs(h[1] - 3.0 / (1.0 + std::exp(-1.0))) < 1e-15);
}

BOOST_AUTO_TEST_CASE(reference_swiglu_gradient_agrees_with_differences)
{
    Tensors tensors(3, 4, 31);
    kernels::launch(reference, tensors.backward()(in_float64));
    const std::vector<double> gradient = tensors.gate_up_gradient.values;
    check_gradient(tensors.gate_up.values, gradient, [&] {
        kernels::launch(reference, tensors.forward()(in_float64));
        return dot(tensors.h.values, tensors.dh.values);
    });
}

BOOST_AUTO_TEST_CASE(cpu_swiglu_agrees_with_reference_at_every_edge)
{
    // A dozen roundings of products up to about 100 (gate 8, up 8, dh 4).
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 171})
        for (const std::int64_t rows : {1, 2, 9, 65}) {
            Tensors tensors(rows, channels, seed++);
            launch_both(tensors.forward());
            launch_both(tensors.backward());
            const std::string what = std::to_string(rows) + "x" + std::to_string(channels);
            check_close(tensors.h, 100 * epsilon, what + " h");
            check_close(tensors.gate_up_gradient, 100 * epsilon, what + " gradient");
        }
}

BOOST_AUTO_TEST_CASE(cpu_swiglu_stays_finite_at_large_gates)
{
    Tensors tensors(4, 64, 3, 200.0);
    launch_both(tensors.forward());
    launch_both(tensors.backward());
    check_close(tensors.h, 4e5 * 4 * epsilon, "h");
    check_close(tensors.gate_up_gradient, 4e5 * 4 * epsilon, "gradient");
}

BOOST_AUTO_TEST_CASE(cpu_swiglu_backward_works_in_place)
{
    Tensors tensors(9, 37, 5);
    kernels::launch(cpu, tensors.backward()(in_float32));
    SwigluBackward op = tensors.backward()(in_float32);
    op.gate_up_gradient = op.gate_up;
    kernels::launch(cpu, op);
    BOOST_TEST(std::ranges::equal(tensors.gate_up.floats(), tensors.gate_up_gradient.floats()));
}

BOOST_AUTO_TEST_CASE(cpu_swiglu_gives_same_bits_on_any_threads)
{
    check_same_bits_on_any_threads([] {
        Tensors tensors(35, 77, 6);
        kernels::launch(cpu, tensors.forward()(in_float32));
        kernels::launch(cpu, tensors.backward()(in_float32));
        std::vector<float> all(tensors.h.floats().begin(), tensors.h.floats().end());
        all.insert(all.end(), tensors.gate_up_gradient.floats().begin(),
                   tensors.gate_up_gradient.floats().end());
        return all;
    });
}

BOOST_AUTO_TEST_SUITE_END()
