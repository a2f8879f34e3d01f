#include "layers/swiglu_mlp.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

using testing::Owned;
using testing::OwnedWeight;
using testing::reference_stream;

BOOST_AUTO_TEST_SUITE(swiglu_mlp)

BOOST_AUTO_TEST_CASE(gradients_agree_with_differences)
{
    Owned u({3, 4}, "u"), gate_up({3, 10}), h({3, 5}), dh({3, 5}, "dh"), du({3, 4});
    Owned addend({3, 4}, "addend");
    OwnedWeight w({10, 4}, "w", 0.6);
    const SwigluMlp mlp{w.weight()};
    const SwigluMlpActivations activations{gate_up.view(), h.view()};
    const auto value = [&] {
        mlp.forward(reference_stream, u.view(), activations);
        return testing::dot(h.view(), dh.view());
    };
    value();
    mlp.backward_input(reference_stream, activations, dh.view(), du.view(), {addend.view(), -2.0});
    for (std::size_t i = 0; i < du.numbers().size(); ++i)
        du.numbers()[i] += 2.0 * addend[i];
    mlp.backward_weight(reference_stream, u.view(), activations);
    testing::check_gradient("u", u.view(), du.view(), value, 12);
    testing::check_gradient("weight", w.value.view(), w.gradient.view(), value, 40);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
