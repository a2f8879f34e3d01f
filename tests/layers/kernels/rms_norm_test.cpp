#include "layers/kernels/rms_norm.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::RmsNormBackward;
using kernels::RmsNormForward;

namespace {

struct Tensors {
    Tensors(std::int64_t rows, std::int64_t channels, std::uint64_t seed)
        : x(Twin::random({rows, channels}, seed, 2.0)), weight(Twin::random({channels}, seed + 1)),
          addend(Twin::random({rows, channels}, seed + 2)), y(Twin::poisoned({rows, channels})),
          rstd(Twin::poisoned({rows})), dy(Twin::random({rows, channels}, seed + 3)),
          dx(Twin::poisoned({rows, channels})), weight_gradient(Twin::random({channels}, seed + 4))
    {
    }

    auto forward(bool with_addend)
    {
        return [this, with_addend](auto side) {
            RmsNormForward op{};
            op.x = side(x);
            op.weight = side(weight);
            if (with_addend)
                op.addend = side(addend);
            op.y = side(y);
            op.rstd = side(rstd);
            op.scale = 0.75;
            op.eps = 1e-5;
            return op;
        };
    }
    /// `onto`: where dx goes; nothing for a tensor of its own.
    auto backward(bool with_addend, Twin* onto = nullptr)
    {
        return [this, with_addend, onto](auto side) {
            RmsNormBackward op{};
            op.dy = side(dy);
            op.x = side(x);
            op.weight = side(weight);
            op.rstd = side(rstd);
            if (with_addend)
                op.addend = side(addend);
            op.dx = side(onto ? *onto : dx);
            op.weight_gradient = side(weight_gradient);
            op.scale = 0.75;
            op.beta = -1.5;
            return op;
        };
    }

    Twin x, weight, addend, y, rstd, dy, dx, weight_gradient;
};

TensorView in_float64(Twin& twin) { return twin.in_float64(); }
TensorView in_float32(Twin& twin) { return twin.in_float32(); }

/// Per element a handful of roundings of values up to about 20; the sums over C and N channels and
/// rows add random walks of sqrt(C) / C (it is a mean) and sqrt(N) of them.
void check_agreement(std::int64_t rows, std::int64_t channels, bool with_addend, std::uint64_t seed)
{
    const std::string what = std::to_string(rows) + " rows of " + std::to_string(channels);
    Tensors tensors(rows, channels, seed);
    launch_both(tensors.forward(with_addend));
    check_close(tensors.y, 64 * epsilon, what + " y");
    // One channel leaves 1 / |x|, which may be large: up to 1 / sqrt(eps).
    check_close(tensors.rstd, (channels == 1 ? 1000 : 16) * epsilon, what + " rstd");
    launch_both(tensors.backward(with_addend));
    check_close(tensors.dx, (channels == 1 ? 2000 : 64) * epsilon, what + " dx");
    check_close(tensors.weight_gradient, (32 + 16 * std::sqrt(static_cast<double>(rows))) * epsilon,
                what + " weight_gradient");
}

} // namespace

BOOST_AUTO_TEST_SUITE(rms_norm)

BOOST_AUTO_TEST_CASE(reference_rms_norm_by_hand)
{
    // mean(x^2) = (1 + 49) / 2 = 25.
    std::vector<double> x = {1, 7}, weight = {10, 20}, addend = {100, 200}, y(2), rstd(1);
    kernels::launch(reference, RmsNormForward{.x = view_of(x.data(), {1, 2}),
                                              .weight = view_of(weight.data(), {2}),
                                              .addend = view_of(addend.data(), {1, 2}),
                                              .y = view_of(y.data(), {1, 2}),
                                              .rstd = view_of(rstd.data(), {1}),
                                              .scale = 0.5,
                                              .eps = 0.0});
    BOOST_TEST(rstd[0] == 0.2);
    BOOST_TEST(std::abs(y[0] - 101.0) < 1e-13);
    BOOST_TEST(std::abs(y[1] - 214.0) < 1e-13);
}

BOOST_AUTO_TEST_CASE(reference_rms_norm_gradient_agrees_with_differences)
{
    Tensors tensors(3, 5, 21);
    const auto loss = [&] {
        kernels::launch(reference, tensors.forward(true)(in_float64));
        return dot(tensors.y.values, tensors.dy.values);
    };
    loss();
    std::ranges::fill(tensors.weight_gradient.values, 0.0);
    kernels::launch(reference, tensors.backward(false)(in_float64));
    const std::vector<double> dx = tensors.dx.values, dweight = tensors.weight_gradient.values;
    check_gradient(tensors.x.values, dx, loss);
    check_gradient(tensors.weight.values, dweight, loss);
}

BOOST_AUTO_TEST_CASE(cpu_rms_norm_agrees_with_reference_at_every_edge)
{
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 129, 512})
        for (const std::int64_t rows : {1, 2, 63, 64, 65, 130}) {
            check_agreement(rows, channels, seed % 2 == 0, seed);
            ++seed;
        }
}

BOOST_AUTO_TEST_CASE(cpu_rms_norm_works_in_place)
{
    Tensors apart(70, 40, 5), in_place(70, 40, 5);
    kernels::launch(cpu, apart.forward(true)(in_float32));
    RmsNormForward forward = in_place.forward(true)(in_float32);
    forward.y = forward.addend;
    kernels::launch(cpu, forward);
    BOOST_TEST(std::ranges::equal(apart.y.floats(), in_place.addend.floats()));

    // dx on dy, then dx on the addend, then all three in one.
    Tensors second(70, 40, 5), third(70, 40, 5), fourth(70, 40, 5);
    for (Tensors* tensors : {&second, &third, &fourth})
        kernels::launch(cpu, tensors->forward(true)(in_float32));
    kernels::launch(cpu, apart.backward(true)(in_float32));
    kernels::launch(cpu, second.backward(true, &second.dy)(in_float32));
    BOOST_TEST(std::ranges::equal(apart.dx.floats(), second.dy.floats()));
    BOOST_TEST(std::ranges::equal(apart.weight_gradient.floats(), second.weight_gradient.floats()));
    kernels::launch(cpu, third.backward(true, &third.addend)(in_float32));
    BOOST_TEST(std::ranges::equal(apart.dx.floats(), third.addend.floats()));

    Tensors plain(70, 40, 5);
    kernels::launch(cpu, plain.forward(true)(in_float32));
    RmsNormBackward all = fourth.backward(true, &fourth.dy)(in_float32);
    all.addend = all.dy;
    RmsNormBackward expected = plain.backward(true)(in_float32);
    expected.addend = expected.dy;
    kernels::launch(cpu, expected);
    kernels::launch(cpu, all);
    BOOST_TEST(std::ranges::equal(plain.dx.floats(), fourth.dy.floats()));
}

BOOST_AUTO_TEST_CASE(cpu_rms_norm_gives_same_bits_on_any_threads)
{
    check_same_bits_on_any_threads([] {
        Tensors tensors(133, 200, 9);
        kernels::launch(cpu, tensors.forward(true)(in_float32));
        kernels::launch(cpu, tensors.backward(true)(in_float32));
        std::vector<float> all;
        for (const Twin* twin : {&tensors.y, &tensors.rstd, &tensors.dx, &tensors.weight_gradient})
            all.insert(all.end(), twin->floats().begin(), twin->floats().end());
        return all;
    });
}

BOOST_AUTO_TEST_SUITE_END()
