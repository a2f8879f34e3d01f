#include "layers/loss_head.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

using testing::Owned;
using testing::OwnedWeight;
using testing::reference_stream;

/// N = 3, C = 4, V = 5.
struct SmallHead {
    double value()
    {
        head.evaluate(reference_stream, x.view(), targets(), scratch);
        return sum_of_losses(losses.view().elements<double>());
    }
    TensorView targets() { return view_of(ids.data(), {3}); }
    OwnedWeight norm{{4}, "norm", 0.3, 1.0}, projection{{5, 4}, "projection"};
    Owned x{{3, 4}, "x"}, dx{{3, 4}}, normed{{3, 4}}, rstd{{3}}, logits{{3, 5}}, losses{{3}};
    std::vector<std::int32_t> ids = {4, 0, 4};
    LossHead head{.norm = {.weight = norm.weight(), .scale = 1.0, .eps = 1e-5},
                  .projection = projection.weight()};
    LossHeadScratch scratch{normed.view(), rstd.view(), logits.view(), losses.view()};
};

BOOST_AUTO_TEST_SUITE(loss_head)

BOOST_AUTO_TEST_CASE(equal_logits_cost_log_of_the_vocabulary)
{
    SmallHead small;
    std::fill(small.projection.value.numbers().begin(), small.projection.value.numbers().end(),
              0.0);
    BOOST_CHECK_SMALL(small.value() - 3.0 * std::log(5.0), 1e-13);
}

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences_and_carry_the_loss_scale)
{
    SmallHead small;
    const double loss_scale = 0.25;
    const double unscaled = small.value();
    small.head.backward(reference_stream, small.x.view(), small.targets(), loss_scale,
                        small.scratch, small.dx.view());
    BOOST_CHECK_EQUAL(sum_of_losses(small.losses.view().elements<double>()), unscaled);
    const auto value = [&] { return loss_scale * small.value(); };
    testing::check_gradient("x", small.x.view(), small.dx.view(), value, 12);
    testing::check_gradient("norm", small.norm.value.view(), small.norm.gradient.view(), value, 4);
    testing::check_gradient("projection", small.projection.value.view(),
                            small.projection.gradient.view(), value, 20);
}

BOOST_AUTO_TEST_CASE(a_loss_scale_of_zero_is_refused)
{
    SmallHead small;
    BOOST_CHECK_THROW(small.head.backward(reference_stream, small.x.view(), small.targets(), 0.0,
                                          small.scratch, small.dx.view()),
                      InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
