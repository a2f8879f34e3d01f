#include "layers/attention.hpp"

#include "layers/kernels/rotary.hpp"
#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace { // the kernels' tests have a suite of this name as well

using testing::Owned;
using testing::OwnedWeight;
using testing::reference_stream;

/// B = 2, T = 4, H = 2, D = 4.
struct SmallAttention {
    SmallAttention()
    {
        kernels::launch(reference_stream,
                        kernels::RotaryTable{.cos = cos.view(), .sin = sin.view(), .base = 100.0});
    }
    double value()
    {
        attention.forward(reference_stream, u.view(), activations);
        return testing::dot(heads.view(), dheads.view());
    }
    OwnedWeight w{{24, 8}, "qkv weight", 0.5};
    Owned u{{8, 8}, "u"}, cos{{4, 2}}, sin{{4, 2}};
    Owned qkv{{8, 24}}, heads{{8, 8}}, logsumexp{{2, 2, 4}};
    Owned dheads{{8, 8}, "dheads"}, row_dot{{2, 2, 4}}, dqkv{{8, 24}}, du{{8, 8}};
    Attention attention{.qkv = w.weight(),
                        .cos = cos.view(),
                        .sin = sin.view(),
                        .micro_batch = {.num_sequences = 2, .seq_len = 4},
                        .num_heads = 2};
    AttentionActivations activations{qkv.view(), heads.view(), logsumexp.view()};
    AttentionGradients gradients{dheads.view(), row_dot.view(), dqkv.view()};
};

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(layer_gradients_agree_with_differences)
{
    SmallAttention small;
    const auto value = [&] { return small.value(); };
    value();
    small.attention.backward_input(reference_stream, small.activations, small.gradients,
                                   small.du.view(), {});
    small.attention.backward_weight(reference_stream, small.u.view(), small.dqkv.view());
    testing::check_gradient("u", small.u.view(), small.du.view(), value, 64);
    testing::check_gradient("weight", small.w.value.view(), small.w.gradient.view(), value, 48);
}

BOOST_AUTO_TEST_CASE(layer_adds_the_addend_and_accumulates_weights)
{
    SmallAttention small;
    Owned addend({8, 8}, "addend");
    small.value();
    small.attention.backward_input(reference_stream, small.activations, small.gradients,
                                   small.du.view(), {});
    small.attention.backward_weight(reference_stream, small.u.view(), small.dqkv.view());
    const std::vector<double> du = small.du.numbers(), dw = small.w.gradient.numbers();
    small.attention.backward_input(reference_stream, small.activations, small.gradients,
                                   small.du.view(), {addend.view(), 3.0});
    small.attention.backward_weight(reference_stream, small.u.view(), small.dqkv.view());
    for (std::size_t i = 0; i < du.size(); ++i)
        BOOST_CHECK_SMALL(small.du[i] - du[i] - 3.0 * addend[i], 1e-13);
    for (std::size_t i = 0; i < dw.size(); ++i)
        BOOST_CHECK_SMALL(small.w.gradient[i] - 2.0 * dw[i], 1e-13);
}

BOOST_AUTO_TEST_CASE(layer_is_causal_and_sequences_do_not_mix)
{
    SmallAttention small;
    small.value();
    const std::vector<double> before = small.heads.numbers();
    for (std::size_t c = 0; c < 8; ++c)
        small.u.numbers()[2 * 8 + c] += 1.0; // token 2 of sequence 0
    small.value();
    for (std::size_t n = 0; n < 8; ++n) {
        bool changed = false;
        for (std::size_t c = 0; c < 8; ++c)
            changed = changed || small.heads[n * 8 + c] != before[n * 8 + c];
        BOOST_CHECK_EQUAL(changed, n == 2 || n == 3);
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
