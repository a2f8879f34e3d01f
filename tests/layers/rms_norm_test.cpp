#include "layers/rms_norm.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

using testing::Owned;
using testing::OwnedWeight;
using testing::reference_stream;

BOOST_AUTO_TEST_SUITE(rms_norm)

BOOST_AUTO_TEST_CASE(value_has_scale_gate_and_addend)
{
    Owned x({1, 2}), y({1, 2}), rstd({1}), addend({1, 2});
    OwnedWeight w({2}, "w");
    x.numbers() = {3, 4}; // mean square 12.5
    w.value.numbers() = {1, 2};
    addend.numbers() = {100, 200};
    const RmsNorm norm{.weight = w.weight(), .scale = 0.5, .eps = 3.5}; // rms 4
    norm.forward(reference_stream, x.view(), y.view(), rstd.view(), 2.0, addend.view());
    BOOST_CHECK_SMALL(y[0] - 100.75, 1e-12);
    BOOST_CHECK_SMALL(y[1] - 202.0, 1e-12);
}

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences)
{
    Owned x({3, 5}, "x"), addend({3, 5}, "addend"), y({3, 5}), rstd({3});
    Owned dy({3, 5}, "dy"), dx({3, 5});
    OwnedWeight w({5}, "w", 0.5, 1.0);
    const RmsNorm norm{.weight = w.weight(), .scale = 0.7, .eps = 1e-2};
    const auto value = [&] {
        norm.forward(reference_stream, x.view(), y.view(), rstd.view(), 0.3);
        return testing::dot(y.view(), dy.view());
    };
    value();
    norm.backward(reference_stream, dy.view(), x.view(), rstd.view(), dx.view(), 0.3);
    testing::check_gradient("x", x.view(), dx.view(), value, 15);
    testing::check_gradient("weight", w.value.view(), w.gradient.view(), value);

    const std::vector<double> without = dx.numbers();
    value();
    norm.backward(reference_stream, dy.view(), x.view(), rstd.view(), dx.view(), 0.3,
                  addend.view());
    for (std::size_t i = 0; i < without.size(); ++i)
        BOOST_CHECK_SMALL(dx[i] - without[i] - addend[i], 1e-14);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
