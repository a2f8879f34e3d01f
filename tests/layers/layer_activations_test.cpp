#include "layers/layer_activations.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

constexpr std::int64_t c = 64, f = 96, h = 2;

/// Numbers per token in one part of a layer.
std::int64_t numbers_in(ActivationPart part, Arrangement arrangement, Recompute recompute)
{
    ModelSpec spec = testing::small_model({arrangement});
    spec.hidden_size = c;
    spec.intermediate_size = f;
    const MicroBatchShape micro_batch{.num_sequences = 2, .seq_len = 16};
    Arena counting;
    allocate_activations(spec, micro_batch, fp32_precision, recompute, part, counting);
    return static_cast<std::int64_t>(counting.used_bytes()) / 4 / micro_batch.num_tokens();
}

void check_parts(Arrangement arrangement, Recompute recompute, std::int64_t kept,
                 std::int64_t for_weights, std::int64_t for_input)
{
    BOOST_TEST_CONTEXT(name_of(arrangement) << " " << static_cast<int>(recompute))
    {
        BOOST_CHECK_EQUAL(numbers_in(ActivationPart::kept, arrangement, recompute), kept);
        BOOST_CHECK_EQUAL(
            numbers_in(ActivationPart::recomputed_for_weights, arrangement, recompute),
            for_weights);
        BOOST_CHECK_EQUAL(numbers_in(ActivationPart::recomputed_for_input, arrangement, recompute),
                          for_input);
    }
}

BOOST_AUTO_TEST_SUITE(layer_activations)

// The layer's input belongs to the layer in front: C numbers less, and C for y.
BOOST_AUTO_TEST_CASE(a_layer_keeps_8c_and_3f_numbers_per_token)
{
    for (const Arrangement arrangement :
         {Arrangement::pre, Arrangement::lns, Arrangement::post, Arrangement::deepnorm})
        check_parts(arrangement, Recompute::none, 8 * c + 3 * f + h + 2, 0, 0);
    check_parts(Arrangement::sandwich, Recompute::none, 10 * c + 3 * f + h + 4, 0, 0);
}

BOOST_AUTO_TEST_CASE(lean_keeps_two_norm_outputs_and_the_swiglu_product_less)
{
    for (const Arrangement arrangement : {Arrangement::pre, Arrangement::lns})
        check_parts(arrangement, Recompute::lean, 6 * c + 2 * f + h + 2, 2 * c + f, 0);
    check_parts(Arrangement::sandwich, Recompute::lean, 8 * c + 2 * f + h + 4, 2 * c + f, 0);
    // The other norm's output is the next layer's input.
    for (const Arrangement arrangement : {Arrangement::post, Arrangement::deepnorm})
        check_parts(arrangement, Recompute::lean, 7 * c + 2 * f + h + 2, c + f, 0);
}

BOOST_AUTO_TEST_CASE(full_keeps_the_layers_inputs)
{
    for (const Arrangement arrangement :
         {Arrangement::pre, Arrangement::lns, Arrangement::post, Arrangement::deepnorm})
        check_parts(arrangement, Recompute::full, c, 7 * c + 3 * f, h + 2);
    check_parts(Arrangement::sandwich, Recompute::full, c, 8 * c + 3 * f, c + h + 4);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
