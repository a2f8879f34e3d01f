#include "layers/decoder_layer.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

BOOST_AUTO_TEST_SUITE(decoder_layer)

BOOST_AUTO_TEST_CASE(a_layer_keeps_8c_and_3f_numbers_per_token)
{
    ModelSpec spec = testing::small_model({Arrangement::pre});
    spec.hidden_size = 64;
    spec.intermediate_size = 96;
    const MicroBatchShape micro_batch{.num_sequences = 2, .seq_len = 16};
    const auto kept = [&](Arrangement arrangement) {
        spec.arrangement = arrangement;
        Arena counting;
        allocate_activations(spec, micro_batch, DType::f32, {}, counting);
        return static_cast<std::int64_t>(counting.used_bytes()) / 4 / micro_batch.num_tokens();
    };
    // x is the layer's input and belongs to the layer in front: C numbers less, and C for y.
    const std::int64_t c = 64, f = 96, h = 2;
    BOOST_CHECK_EQUAL(kept(Arrangement::pre), 8 * c + 3 * f + h + 2);
    BOOST_CHECK_EQUAL(kept(Arrangement::lns), 8 * c + 3 * f + h + 2);
    BOOST_CHECK_EQUAL(kept(Arrangement::post), 8 * c + 3 * f + h + 2);
    BOOST_CHECK_EQUAL(kept(Arrangement::deepnorm), 8 * c + 3 * f + h + 2);
    BOOST_CHECK_EQUAL(kept(Arrangement::sandwich), 10 * c + 3 * f + h + 4);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
