// Chunks that share one pool: any slot for any chunk, chunks without layers, and who hears of
// finished gradients.
#include "tests/layers/chunk_chain_fixture.hpp"

#include <map>

namespace sluice {
namespace {

using testing::ChunkChain;
using testing::mixed_gates;
using testing::Run;

constexpr double loss_scale = 0.05;

const std::vector<LayerRange> whole = {{0, 4, true, true}};
const std::vector<std::vector<LayerRange>> cuts = {
    {{0, 1, true, false}, {1, 4, false, true}},
    {{0, 2, true, false}, {2, 3}, {3, 4, false, true}},
    {{0, 0, true, false}, {0, 4, false, true}},                         // embedding alone
    {{0, 4, true, false}, {4, 4, false, true}},                         // head alone
    {{0, 0, true, false}, {0, 3}, {3, 3}, {3, 4}, {4, 4, false, true}}, // and nothing at all
};

BOOST_AUTO_TEST_SUITE(model_chunk_pool, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(chunks_on_one_pool_have_the_bits_of_the_whole_model)
{
    for (const testing::Variant& variant : testing::all_variants)
        for (const Precision& precision : testing::all_precisions) {
            ModelChunkOptions options =
                testing::whole_model(testing::small_model(variant), precision);
            const Run expected = testing::run_whole(options, 3, mixed_gates, loss_scale);
            for (const BackwardSplit split : {BackwardSplit::fused, BackwardSplit::split})
                for (const auto& ranges : cuts) {
                    options.split = split;
                    testing::check_same(
                        testing::run_chain(options, ranges, 3, mixed_gates, loss_scale), expected,
                        variant.name() + " in " + std::to_string(ranges.size()));
                }
        }
}

BOOST_AUTO_TEST_CASE(a_head_alone_evaluates)
{
    for (const Precision& precision : testing::all_precisions) {
        const ModelChunkOptions options =
            testing::whole_model(testing::small_model({Arrangement::post}), precision);
        ChunkChain chain(options, cuts[3], 1);
        for (int c = 0; c < 2; ++c)
            chain.forward(c, 0, mixed_gates);
        chain.chunk(1).evaluate(chain.slot(1, 0));
        const double evaluated = chain.chunk(1).loss_sum();
        BOOST_CHECK_EQUAL(evaluated,
                          testing::run_whole(options, 1, mixed_gates, loss_scale).losses.front());
    }
}

/// Notes what it hears, and the bits of the gradients at that moment.
struct Listener : GradientObserver {
    void gradients_done(std::span<const Parameter> parameters) override
    {
        calls.emplace_back();
        for (const Parameter& parameter : parameters) {
            const char* const data = static_cast<const char*>(parameter.gradient.data);
            calls.back().push_back(parameter.spec.index);
            heard[parameter.spec.index] = {data, data + parameter.gradient.num_bytes()};
        }
    }
    std::vector<std::vector<std::int64_t>> calls;
    std::map<std::int64_t, std::vector<char>> heard;
};

/// One micro-batch whose weight gradients are told to a listener.
Listener listen(const LayerRange& range, BackwardSplit split)
{
    ModelChunkOptions options = testing::whole_model(testing::small_model({Arrangement::sandwich}));
    options.range = range;
    options.split = split;
    ModelChunk chunk(options);
    testing::fill_parameters(chunk);
    testing::fill_micro_batch(chunk, 0, 0);
    const std::vector<double> alphas(static_cast<std::size_t>(range.num_layers()), 0.5);
    if (!range.embedding)
        kernels::launch(options.stream, kernels::Fill{.to = chunk.input(0), .value = 0.5});
    chunk.forward(0, alphas);
    if (!range.head)
        kernels::launch(options.stream,
                        kernels::Fill{.to = chunk.output_gradient(0), .value = 0.25});
    Listener listener;
    if (split == BackwardSplit::split) {
        chunk.backward_input(0, 0, alphas, loss_scale);
        chunk.backward_weight(0, 0, alphas, &listener);
    } else {
        chunk.backward(0, 0, alphas, loss_scale, &listener);
    }
    for (const Parameter& parameter : chunk.parameters()) {
        const char* const data = static_cast<const char*>(parameter.gradient.data);
        const std::vector<char> final_bytes(data, data + parameter.gradient.num_bytes());
        BOOST_CHECK_MESSAGE(listener.heard[parameter.spec.index] == final_bytes,
                            parameter.spec.name << " was not final when told");
        BOOST_CHECK_MESSAGE(!testing::all_zero(parameter.gradient), parameter.spec.name);
    }
    return listener;
}

std::vector<std::int64_t> numbers(std::int64_t first, std::int64_t count)
{
    std::vector<std::int64_t> made;
    for (std::int64_t i = first; i < first + count; ++i)
        made.push_back(i);
    return made;
}

BOOST_AUTO_TEST_CASE(observers_hear_of_every_gradient_once_and_when_it_is_final)
{
    using Calls = std::vector<std::vector<std::int64_t>>;
    for (const BackwardSplit split : {BackwardSplit::fused, BackwardSplit::split}) {
        // Sandwich has 11 parameters per layer; embedding 0, layers from 1, norm 45, head 46.
        BOOST_CHECK(listen({0, 4, true, true}, split).calls ==
                    (Calls{numbers(45, 2), numbers(34, 11), numbers(23, 11), numbers(12, 11),
                           numbers(1, 11), numbers(0, 1)}));
        BOOST_CHECK(listen({1, 3}, split).calls == (Calls{numbers(23, 11), numbers(12, 11)}));
        BOOST_CHECK(listen({4, 4, false, true}, split).calls == (Calls{numbers(45, 2)}));
        BOOST_CHECK(listen({0, 0, true, false}, split).calls == (Calls{numbers(0, 1)}));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
