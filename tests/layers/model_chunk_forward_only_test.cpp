// A chunk of forwards only: the same losses from the weights and one layer's activations.
#include "layers/kernels/adamw.hpp"
#include "tests/layers/chunk_chain_fixture.hpp"

namespace sluice {
namespace {

std::vector<double> losses_of(const ModelChunkOptions& options, const std::vector<double>& alphas)
{
    ModelChunk chunk(options);
    testing::fill_parameters(chunk);
    std::vector<double> losses;
    for (int m = 0; m < 3; ++m) {
        testing::fill_micro_batch(chunk, 0, m);
        chunk.forward(0, alphas);
        chunk.evaluate(0);
        const auto found = chunk.token_losses().elements<double>();
        losses.insert(losses.end(), found.begin(), found.end());
    }
    return losses;
}

ModelChunkOptions forward_only(ModelChunkOptions options)
{
    options.passes = Passes::forward_only;
    options.num_gradient_slots = 0;
    return options;
}

BOOST_AUTO_TEST_SUITE(model_chunk_forward_only, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(the_losses_are_those_of_a_chunk_that_trains)
{
    for (const testing::Variant& variant : testing::all_variants)
        for (const Precision& precision : testing::all_precisions)
            for (const auto& alphas :
                 {testing::mixed_gates, std::vector(4, 0.0), std::vector(4, 1.0)}) {
                const auto options = testing::whole_model(testing::small_model(variant), precision);
                BOOST_CHECK_MESSAGE(losses_of(forward_only(options), alphas) ==
                                        losses_of(options, alphas),
                                    variant.name() << " in " << name_of(precision.compute));
            }
}

BOOST_AUTO_TEST_CASE(chunks_of_a_chain_share_the_memory)
{
    const auto options = testing::whole_model(testing::small_model({Arrangement::pre}));
    const std::vector<LayerRange> in_three = {{0, 1, true, false}, {1, 3}, {3, 4, false, true}};
    constexpr int num_microbatches = 3;
    testing::ChunkChain chain(forward_only(options), in_three, num_microbatches);
    std::vector<double> losses;
    for (int m = 0; m < num_microbatches; ++m) {
        for (int c = 0; c < 3; ++c)
            chain.forward(c, m, testing::mixed_gates);
        chain.chunk(2).evaluate(chain.slot(2, m));
        const auto found = chain.chunk(2).token_losses().elements<double>();
        losses.insert(losses.end(), found.begin(), found.end());
    }
    BOOST_CHECK(losses == losses_of(options, testing::mixed_gates));
}

BOOST_AUTO_TEST_CASE(memory_is_that_of_weights_and_one_layer)
{
    const std::size_t n = 10, c = 136, f = 200, vocab = 530;
    for (const Precision& precision : {fp32_precision, bf16_precision, pure_bf16_precision}) {
        ModelChunkOptions options =
            testing::whole_model(testing::wide_model({Arrangement::pre}), precision);
        const ChunkMemory trains = plan_memory(options);
        const ChunkMemory forwards = plan_memory(forward_only(options));
        BOOST_CHECK_EQUAL(forwards.parameter_bytes, trains.parameter_bytes);
        BOOST_CHECK_EQUAL(forwards.gradient_bytes, 0u);
        BOOST_CHECK_EQUAL(forwards.optimizer_bytes, 0u);
        BOOST_CHECK_EQUAL(forwards.gradient_slot_bytes, 0u);
        const std::size_t number = size_of(precision.compute);
        // Token ids and targets, and the stream; one layer's and the head's, each up to alignment.
        BOOST_CHECK_LE(forwards.slot_bytes, 2 * 64 + number * n * c + 64);
        BOOST_CHECK_LE(forwards.scratch_bytes,
                       number * n * (7 * c + 3 * f) + number * n * (c + vocab) + 20 * 64 + 12 * n);
        for (const std::int64_t num_layers : {2, 4}) {
            options.model.num_layers = options.range.end = num_layers;
            BOOST_CHECK_EQUAL(plan_memory(forward_only(options)).scratch_bytes,
                              forwards.scratch_bytes);
        }
        const ModelChunk chunk(forward_only(options));
        BOOST_CHECK_EQUAL(chunk.memory().own_bytes(), forwards.own_bytes());
    }
}

BOOST_AUTO_TEST_CASE(what_needs_gradients_is_refused)
{
    ModelChunk chunk(forward_only(testing::whole_model(testing::small_model({Arrangement::pre}))));
    testing::fill_parameters(chunk);
    testing::fill_micro_batch(chunk, 0, 0);
    chunk.forward(0, testing::mixed_gates);
    std::vector<double> squares(chunk.parameters().size());
    BOOST_CHECK_THROW(chunk.backward(0, 0, testing::mixed_gates, 0.1), InvariantError);
    BOOST_CHECK_THROW(chunk.zero_gradients(), InvariantError);
    BOOST_CHECK_THROW(chunk.gradient_squares(squares), InvariantError);
    BOOST_CHECK_THROW(chunk.update_weights({}), InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
