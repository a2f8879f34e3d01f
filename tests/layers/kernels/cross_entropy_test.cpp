#include "layers/kernels/cross_entropy.hpp"

#include "tests/layers/kernels/kernel_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::CrossEntropy;

namespace {

struct Tensors {
    Tensors(std::int64_t rows, std::int64_t vocabulary, std::uint64_t seed, double scale = 3.0)
        : logits(Twin::random({rows, vocabulary}, seed, scale)),
          losses(static_cast<std::size_t>(rows), std::nan(""))
    {
        for (std::int64_t row = 0; row < rows; ++row) // both ends, and between
            targets.push_back(static_cast<std::int32_t>(row % 3 == 0   ? 0
                                                        : row % 3 == 1 ? vocabulary - 1
                                                                       : row * 31 % vocabulary));
    }

    CrossEntropy op(const TensorView& view, double gradient_scale)
    {
        const auto rows = static_cast<std::int64_t>(losses.size());
        return {.logits = view,
                .targets = view_of(targets.data(), {rows}),
                .losses = view_of(losses.data(), {rows}),
                .gradient_scale = gradient_scale};
    }

    Twin logits;
    std::vector<std::int32_t> targets;
    std::vector<double> losses;
};

} // namespace

BOOST_AUTO_TEST_SUITE(cross_entropy)

BOOST_AUTO_TEST_CASE(reference_cross_entropy_by_hand)
{
    // exp gives 1, 3, 4: probabilities 1/8, 3/8, 1/2.
    std::vector<double> logits = {0.0, std::log(3.0), std::log(4.0)}, losses(1);
    std::vector<std::int32_t> targets = {1};
    kernels::launch(reference, CrossEntropy{.logits = view_of(logits.data(), {1, 3}),
                                            .targets = view_of(targets.data(), {1}),
                                            .losses = view_of(losses.data(), {1}),
                                            .gradient_scale = 2.0});
    BOOST_TEST(std::abs(losses[0] - std::log(8.0 / 3.0)) < 1e-15);
    BOOST_TEST(std::abs(logits[0] - 0.25) < 1e-15);
    BOOST_TEST(std::abs(logits[1] + 1.25) < 1e-15);
    BOOST_TEST(std::abs(logits[2] - 1.0) < 1e-15);
}

BOOST_AUTO_TEST_CASE(reference_cross_entropy_gradient_agrees_with_differences)
{
    Tensors tensors(3, 7, 41);
    std::vector<double> x = tensors.logits.values;
    kernels::launch(reference, tensors.op(tensors.logits.in_float64(), 1.0));
    const std::vector<double> gradient = tensors.logits.values;
    check_gradient(x, gradient, [&] {
        kernels::launch(reference, tensors.op(view_of(x.data(), {3, 7}), 0.0));
        return tensors.losses[0] + tensors.losses[1] + tensors.losses[2];
    });
}

BOOST_AUTO_TEST_CASE(cpu_cross_entropy_agrees_with_reference_at_every_edge)
{
    // exp is good to 1.5 ulp at an argument off by half an ulp of up to 20, and runs of 256 terms
    // add up to 8 such in float32 before float64 takes over: some 20 epsilon, of a loss (a
    // logarithm) absolutely, of a probability relatively.
    std::uint64_t seed = 1;
    for (const std::int64_t vocabulary :
         {1, 2, 7, 8, 9, 31, 32, 33, 63, 65, 255, 256, 257, 520, 4099})
        for (const std::int64_t rows : {1, 5, 66}) {
            const std::string what = std::to_string(rows) + "x" + std::to_string(vocabulary);
            Tensors tensors(rows, vocabulary, seed++);
            const std::vector<double> before = tensors.logits.values;
            kernels::launch(reference, tensors.op(tensors.logits.in_float64(), 0.5));
            const std::vector<double> expected = tensors.losses;
            std::ranges::fill(tensors.losses, std::nan(""));
            kernels::launch(cpu, tensors.op(tensors.logits.in_float32(), 0.0));
            for (std::size_t i = 0; i < expected.size(); ++i)
                BOOST_TEST(std::abs(tensors.losses[i] - expected[i]) <= 20 * epsilon, what);
            for (std::size_t i = 0; i < before.size(); ++i) // scale 0 leaves the logits alone
                BOOST_REQUIRE_EQUAL(before[i], static_cast<double>(tensors.logits.floats()[i]));

            const std::vector<double> losses = tensors.losses;
            kernels::launch(cpu, tensors.op(tensors.logits.in_float32(), 0.5));
            BOOST_TEST(losses == tensors.losses);
            check_close(tensors.logits, 10 * epsilon, what);
        }
}

BOOST_AUTO_TEST_CASE(cpu_cross_entropy_survives_large_logits)
{
    Tensors tensors(4, 300, 3, 500.0);
    kernels::launch(reference, tensors.op(tensors.logits.in_float64(), 1.0));
    const std::vector<double> expected = tensors.losses;
    kernels::launch(cpu, tensors.op(tensors.logits.in_float32(), 1.0));
    for (std::size_t i = 0; i < expected.size(); ++i)
        BOOST_TEST(std::abs(tensors.losses[i] - expected[i]) <= 3000 * epsilon);
    check_close(tensors.logits, 3000 * epsilon, "gradient");
}

BOOST_AUTO_TEST_CASE(cpu_cross_entropy_shows_a_broken_logit)
{
    for (const std::size_t place : {0, 40, 69}) {
        Tensors tensors(1, 70, 3);
        static_cast<float*>(tensors.logits.in_float32().data)[place] = std::nanf("");
        kernels::launch(cpu, tensors.op(tensors.logits.in_float32(), 1.0));
        BOOST_TEST(std::isnan(tensors.losses[0]));
    }
}

BOOST_AUTO_TEST_CASE(cross_entropy_refuses_targets_outside_the_vocabulary)
{
    for (const std::int32_t bad : {-1, 70}) {
        Tensors tensors(2, 70, 3);
        tensors.targets[1] = bad;
        BOOST_CHECK_THROW(kernels::launch(cpu, tensors.op(tensors.logits.in_float32(), 1.0)),
                          InvariantError);
    }
}

BOOST_AUTO_TEST_CASE(cpu_cross_entropy_gives_same_bits_on_any_threads)
{
    check_same_bits_on_any_threads([] {
        Tensors tensors(17, 999, 6);
        kernels::launch(cpu, tensors.op(tensors.logits.in_float32(), 1.0));
        std::vector<float> all(tensors.logits.floats().begin(), tensors.logits.floats().end());
        for (const double loss : tensors.losses) { // two floats hold 48 of the 53 bits
            all.push_back(static_cast<float>(loss));
            all.push_back(static_cast<float>(loss - static_cast<double>(all.back())));
        }
        return all;
    });
}

BOOST_AUTO_TEST_SUITE_END()
