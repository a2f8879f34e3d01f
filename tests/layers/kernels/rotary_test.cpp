#include "layers/kernels/rotary.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::RotaryBackward;
using kernels::RotaryForward;
using kernels::RotaryTable;

namespace {

struct Tensors {
    Tensors(std::int64_t B, std::int64_t T, std::int64_t H, std::int64_t D, std::uint64_t seed)
        : qkv(Twin::random({B, T, 3, H, D}, seed)), cos(Twin::poisoned({T + 3, D / 2})),
          sin(Twin::poisoned({T + 3, D / 2}))
    {
        launch_both([&](auto side) { return RotaryTable{.cos = side(cos), .sin = side(sin)}; });
    }

    auto forward()
    {
        return [this](auto side) {
            return RotaryForward{.qkv = side(qkv), .cos = side(cos), .sin = side(sin)};
        };
    }
    auto backward()
    {
        return [this](auto side) {
            return RotaryBackward{.qkv_gradient = side(qkv), .cos = side(cos), .sin = side(sin)};
        };
    }

    Twin qkv, cos, sin;
};

TensorView in_float32(Twin& twin) { return twin.in_float32(); }

} // namespace

BOOST_AUTO_TEST_SUITE(rotary)

BOOST_AUTO_TEST_CASE(reference_rotary_turns_pairs_half_a_head_apart)
{
    // D = 4, base 16: channels (0,2) turn by t, channels (1,3) by t / 4; position 0 stays.
    std::vector<double> qkv = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
                               1, 0, 0, 1, 0, 1, 1, 0, 9, 10, 11, 12};
    std::vector<double> cos(4), sin(4);
    kernels::launch(reference, RotaryTable{.cos = view_of(cos.data(), {2, 2}),
                                           .sin = view_of(sin.data(), {2, 2}),
                                           .base = 16.0});
    const std::vector<double> before = qkv;
    kernels::launch(reference, RotaryForward{.qkv = view_of(qkv.data(), {1, 2, 3, 1, 4}),
                                             .cos = view_of(cos.data(), {2, 2}),
                                             .sin = view_of(sin.data(), {2, 2})});
    for (std::size_t i = 0; i < 12; ++i)
        BOOST_TEST(qkv[i] == before[i]);
    const std::vector<double> expected = {std::cos(1.0),
                                          -std::sin(0.25),
                                          std::sin(1.0),
                                          std::cos(0.25),
                                          -std::sin(1.0),
                                          std::cos(0.25),
                                          std::cos(1.0),
                                          std::sin(0.25),
                                          9,
                                          10,
                                          11,
                                          12};
    for (std::size_t i = 0; i < 12; ++i)
        BOOST_TEST(std::abs(qkv[12 + i] - expected[i]) < 1e-15);
}

BOOST_AUTO_TEST_CASE(cpu_rotary_agrees_with_reference_at_every_edge)
{
    // Two products of a rounded table entry and one sum: three roundings of values up to 5.
    std::uint64_t seed = 1;
    for (const std::int64_t D : {2, 4, 14, 16, 18, 32, 64, 128})
        for (const std::int64_t T : {1, 2, 65}) {
            Tensors tensors(2, T, 3, D, seed++);
            check_close(tensors.cos, epsilon, "cos");
            check_close(tensors.sin, epsilon, "sin");
            launch_both(tensors.forward());
            check_close(tensors.qkv, 16 * epsilon, "forward D " + std::to_string(D));
            launch_both(tensors.backward());
            check_close(tensors.qkv, 32 * epsilon, "backward D " + std::to_string(D));
        }
}

BOOST_AUTO_TEST_CASE(rotary_backward_undoes_forward)
{
    // A rotation's transpose is its inverse.
    Tensors tensors(2, 9, 2, 8, 4);
    const std::vector<double> before = tensors.qkv.values;
    launch_both(tensors.forward());
    BOOST_TEST(std::abs(tensors.qkv.values[8 * 48] - before[8 * 48]) > 1e-3);
    launch_both(tensors.backward());
    for (std::size_t i = 0; i < before.size(); ++i)
        BOOST_TEST(std::abs(tensors.qkv.values[i] - before[i]) < 1e-14);
}

BOOST_AUTO_TEST_CASE(cpu_rotary_gives_same_bits_on_any_threads)
{
    check_same_bits_on_any_threads([] {
        Tensors tensors(3, 21, 2, 12, 6);
        kernels::launch(cpu, tensors.forward()(in_float32));
        return std::vector<float>(tensors.qkv.floats().begin(), tensors.qkv.floats().end());
    });
}

BOOST_AUTO_TEST_SUITE_END()
