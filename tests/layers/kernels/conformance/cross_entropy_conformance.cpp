#include "layers/kernels/cross_entropy.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::CrossEntropy;

namespace {

void check_shape(std::int64_t rows, std::int64_t vocabulary, std::uint64_t seed, double scale,
                 double loss_bound, double gradient_bound)
{
    check_conformance([=](Case& c) {
        const std::string what = std::to_string(rows) + "x" + std::to_string(vocabulary);
        std::vector<std::int32_t> targets; // both ends, and between
        for (std::int64_t row = 0; row < rows; ++row)
            targets.push_back(static_cast<std::int32_t>(row % 3 == 0   ? 0
                                                        : row % 3 == 1 ? vocabulary - 1
                                                                       : row * 31 % vocabulary));
        Operand logits = c.random({rows, vocabulary}, c.compute(), seed, scale);
        Operand ids = c.token_ids(targets);
        Operand losses = c.poisoned({rows}, DType::f64);
        const auto op = [&](double gradient_scale) {
            return [&, gradient_scale](auto side) {
                return CrossEntropy{.logits = side(logits),
                                    .targets = side(ids),
                                    .losses = side(losses),
                                    .gradient_scale = gradient_scale};
            };
        };
        c.launch(op(0.0));
        c.check(losses, loss_bound, what + " losses");
        c.check_exactly(logits, what + " logits, to be left alone");
        c.launch(op(0.5));
        c.check(losses, loss_bound, what + " losses beside the gradient");
        c.check(logits, gradient_bound, what + " gradient");
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(cross_entropy)

BOOST_AUTO_TEST_CASE(every_edge)
{
    // exp is good to 2 ulp at an argument off by half an ulp of up to 20, and sums of runs of
    // terms add a few roundings: some 20 epsilon, of a loss absolutely, of a probability
    // relatively.
    std::uint64_t seed = 1;
    for (const std::int64_t vocabulary : {1, 2, 7, 8, 9, 63, 65, 257, 4095, 4096, 4099, 8200})
        for (const std::int64_t rows : {1, 5})
            check_shape(rows, vocabulary, seed++, 3.0, 20 * epsilon, 10 * epsilon);
    // What a block of threads holds in registers, and rows that are read twice.
    for (const std::int64_t vocabulary : {12288, 16384, 16385, 32000, 32768, 32776, 70000})
        check_shape(2, vocabulary, seed++, 3.0, 20 * epsilon, 10 * epsilon);
}

BOOST_AUTO_TEST_CASE(large_logits)
{
    check_shape(4, 300, 3, 500.0, 3000 * epsilon, 3000 * epsilon);
}

BOOST_AUTO_TEST_CASE(a_broken_logit_shows)
{
    for (const double broken : {std::nan(""), static_cast<double>(INFINITY)})
        check_conformance([broken](Case& c) {
            Operand logits = c.random({1, 40}, c.compute(), 1);
            logits.tested->set(23, broken);
            logits.tested->upload();
            Operand ids = c.token_ids({3}), losses = c.poisoned({1}, DType::f64);
            losses.tested->set(0, 1.0);
            losses.tested->upload();
            c.launch_tested([&](auto side) {
                return CrossEntropy{.logits = side(logits),
                                    .targets = side(ids),
                                    .losses = side(losses),
                                    .gradient_scale = 0.0};
            });
            losses.tested->download();
            BOOST_TEST(!std::isfinite(losses.tested->get(0)), c.name("broken logit"));
        });
}

BOOST_AUTO_TEST_CASE(an_unknown_target_shows)
{
    if (backend_under_test() == BackendUnderTest::cpu)
        return; // it looks at targets first and throws
    for (const std::int32_t bad : {-1, 40})
        check_conformance([bad](Case& c) {
            Operand logits = c.random({1, 40}, c.compute(), 1);
            Operand ids = c.token_ids({bad}), losses = c.filled({1}, DType::f64, 1.0);
            c.launch_tested([&](auto side) {
                return CrossEntropy{.logits = side(logits),
                                    .targets = side(ids),
                                    .losses = side(losses),
                                    .gradient_scale = 1.0};
            });
            losses.tested->download();
            BOOST_TEST(std::isnan(losses.tested->get(0)), c.name("unknown target"));
        });
}

BOOST_AUTO_TEST_SUITE_END()
