#include "layers/chunk_layout.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

void check_plan(const ModelChunkOptions& options)
{
    const ChunkMemory plan = plan_memory(options);
    const ModelChunk chunk(options);
    const ChunkMemory& taken = chunk.memory();
    BOOST_CHECK_EQUAL(plan.parameter_bytes, taken.parameter_bytes);
    BOOST_CHECK_EQUAL(plan.gradient_bytes, taken.gradient_bytes);
    BOOST_CHECK_EQUAL(plan.optimizer_bytes, taken.optimizer_bytes);
    BOOST_CHECK_EQUAL(plan.table_bytes, taken.table_bytes);
    BOOST_CHECK_EQUAL(plan.slot_bytes, taken.slot_bytes);
    BOOST_CHECK_EQUAL(plan.gradient_slot_bytes, taken.gradient_slot_bytes);
    BOOST_CHECK_EQUAL(plan.scratch_bytes, taken.scratch_bytes);
    const PoolSizes& pool = chunk.pool().sizes();
    BOOST_CHECK_EQUAL(pool.num_slots, options.num_slots);
    BOOST_CHECK_EQUAL(pool.num_gradient_slots, options.num_gradient_slots);
    BOOST_CHECK_EQUAL(pool.slot_bytes, taken.slot_bytes);
    BOOST_CHECK_EQUAL(pool.gradient_slot_bytes, taken.gradient_slot_bytes);
    BOOST_CHECK_EQUAL(pool.scratch_bytes, taken.scratch_bytes);
    BOOST_CHECK_GT(plan.slot_bytes, 0u);
}

BOOST_AUTO_TEST_SUITE(chunk_layout, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(the_plan_is_what_a_chunk_takes)
{
    for (const testing::Variant& variant : testing::all_variants)
        for (const Precision& precision : testing::all_precisions)
            for (const BackwardSplit split : {BackwardSplit::fused, BackwardSplit::split})
                for (const Recompute recompute :
                     {Recompute::none, Recompute::lean, Recompute::full})
                    for (const LayerRange& range :
                         {LayerRange{0, 4, true, true}, LayerRange{0, 1, true, false},
                          LayerRange{1, 3}, LayerRange{3, 4, false, true},
                          LayerRange{0, 0, true, false}, LayerRange{2, 2},
                          LayerRange{4, 4, false, true}}) {
                        ModelChunkOptions options =
                            testing::whole_model(testing::small_model(variant), precision);
                        options.range = range;
                        options.split = split;
                        options.recompute = recompute;
                        options.num_slots = 3;
                        options.num_gradient_slots = 2;
                        check_plan(options);
                    }
}

BOOST_AUTO_TEST_CASE(slots_and_logits_cost_what_they_should)
{
    ModelSpec spec = testing::small_model({Arrangement::pre});
    spec.vocab_size = 1000;
    spec.hidden_size = 64;
    spec.intermediate_size = 96;
    ModelChunkOptions options = testing::whole_model(spec, Backend::cpu);
    options.micro_batch = {.num_sequences = 1, .seq_len = 16};
    options.range = {.begin = 1, .end = 3, .embedding = false, .head = false};
    const ChunkMemory one = plan_memory(options);
    // Two layers, and the chunk's input.
    const std::size_t per_token = 2 * (8 * 64 + 3 * 96 + 2 + 2) + 64;
    BOOST_CHECK_EQUAL(one.slot_bytes, 4 * 16 * per_token);
    BOOST_CHECK_EQUAL(one.gradient_slot_bytes, 4 * 16 * 2 * 64u);
    BOOST_CHECK_EQUAL(one.parameter_bytes, 4u * 2u * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64));
    // Cosines and sines, and sums of squares of two layers and their 18 parameters.
    BOOST_CHECK_EQUAL(one.table_bytes,
                      4u * 2u * 16 * 16 + aligned_bytes(8 * 2) + aligned_bytes(8 * 18));

    options.precision = bf16_precision;
    const ChunkMemory in_bf16 = plan_memory(options);
    const std::size_t statistics = 2 * (2 + 2); // of norms and softmax, in f32 as before
    BOOST_CHECK_EQUAL(in_bf16.slot_bytes, 2 * 16 * (per_token + statistics));
    BOOST_CHECK_EQUAL(in_bf16.gradient_slot_bytes, one.gradient_slot_bytes / 2);
    BOOST_CHECK_EQUAL(in_bf16.parameter_bytes, one.parameter_bytes / 2);
    BOOST_CHECK_EQUAL(in_bf16.gradient_bytes, one.gradient_bytes);
    BOOST_CHECK_EQUAL(in_bf16.optimizer_bytes, 3 * one.gradient_bytes);
    BOOST_CHECK_EQUAL(in_bf16.table_bytes, one.table_bytes);
    options.precision = fp32_precision;

    options.range.head = true;
    const ChunkMemory with_head = plan_memory(options);
    const std::size_t logits = 4 * 16 * 1000;
    BOOST_CHECK_GE(with_head.scratch_bytes - one.scratch_bytes, logits);
    BOOST_CHECK_LT(with_head.scratch_bytes - one.scratch_bytes, logits + 4 * 16 * (3 * 64));
}

BOOST_AUTO_TEST_CASE(impossible_sizes_are_broken_promises)
{
    const ModelChunkOptions good = testing::whole_model(testing::small_model({Arrangement::pre}));
    BOOST_CHECK_NO_THROW(plan_memory(good));
    const auto refused = [&](const auto& change) {
        ModelChunkOptions options = good;
        change(options);
        BOOST_CHECK_THROW(plan_memory(options), InvariantError);
    };
    refused([](ModelChunkOptions& options) { options.model.num_heads = 3; });
    refused([](ModelChunkOptions& options) { options.model.num_heads = 8; }); // head_dim 1
    refused([](ModelChunkOptions& options) { options.micro_batch.seq_len = 17; });
    refused([](ModelChunkOptions& options) { options.range.end = 5; });
    refused([](ModelChunkOptions& options) { options.precision = fp32_precision; });
    refused([](ModelChunkOptions& options) { options.stream.backend = Backend::cpu; });
    ModelChunkOptions none = good;
    none.num_slots = 0;
    BOOST_CHECK_THROW(ModelChunk{none}, InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
