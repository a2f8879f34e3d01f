// Delayed weight gradients and recomputed activations: the same bits for less memory.
#include "tests/layers/chunk_chain_fixture.hpp"

namespace sluice {
namespace {

using testing::mixed_gates;
using testing::Run;

constexpr double loss_scale = 0.05;

const std::vector<LayerRange> whole = {{0, 4, true, true}};
const std::vector<LayerRange> in_three = {{0, 1, true, false}, {1, 3}, {3, 4, false, true}};
const std::vector<Recompute> choices = {Recompute::none, Recompute::lean, Recompute::full};
const char* const names[] = {"none", "lean", "full"};

/// Every choice, in one chunk and in three, against the plain run.
void check_all_choices(const testing::Variant& variant, ModelChunkOptions options,
                       int num_microbatches, const std::vector<double>& alphas)
{
    const Run expected = testing::run_whole(options, num_microbatches, alphas, loss_scale);
    for (const BackwardSplit split : {BackwardSplit::fused, BackwardSplit::split})
        for (const Recompute recompute : choices)
            for (const auto& ranges : {whole, in_three}) {
                options.split = split;
                options.recompute = recompute;
                testing::check_same(
                    testing::run_chain(options, ranges, num_microbatches, alphas, loss_scale),
                    expected,
                    variant.name() + " " + names[static_cast<int>(recompute)] +
                        (split == BackwardSplit::split ? " split" : " fused") + " in " +
                        std::to_string(ranges.size()));
            }
}

BOOST_AUTO_TEST_SUITE(model_chunk_recompute, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(every_choice_has_the_same_bits)
{
    for (const testing::Variant& variant : testing::all_variants)
        for (const Precision& precision : testing::all_precisions)
            check_all_choices(variant,
                              testing::whole_model(testing::small_model(variant), precision), 3,
                              mixed_gates);
}

BOOST_AUTO_TEST_CASE(also_with_all_gates_open_or_closed)
{
    for (const testing::Variant& variant : testing::all_variants)
        for (const double gate : {0.0, 1.0})
            check_all_choices(variant,
                              testing::whole_model(testing::small_model(variant), Backend::cpu), 2,
                              std::vector<double>(4, gate));
}

BOOST_AUTO_TEST_CASE(also_with_an_mlp_narrower_than_the_stream)
{
    for (const testing::Variant& variant : testing::all_variants) {
        ModelSpec spec = testing::small_model(variant);
        spec.intermediate_size = spec.hidden_size / 2; // whose scratch holds outputs, too
        check_all_choices(variant, testing::whole_model(spec, fp32_precision), 2, mixed_gates);
    }
}

BOOST_AUTO_TEST_CASE(also_at_sizes_on_both_sides_of_tiles)
{
    const std::vector<std::pair<Arrangement, Precision>> kinds = {
        {Arrangement::pre, fp32_precision},
        {Arrangement::deepnorm, bf16_precision},
        {Arrangement::sandwich, bf16_precision}};
    for (const auto& [arrangement, precision] : kinds) {
        const testing::Variant variant{arrangement};
        ModelChunkOptions options = testing::whole_model(testing::wide_model(variant), precision);
        options.micro_batch = {.num_sequences = 1, .seq_len = 67};
        check_all_choices(variant, options, 2, mixed_gates);
    }
}

/// Bytes of a chunk of `num_layers` layers inside the model, per token and number.
ChunkMemory inner_memory(Arrangement arrangement, std::int64_t num_layers, BackwardSplit split,
                         Recompute recompute)
{
    ModelSpec spec = testing::small_model({arrangement});
    spec.num_layers = 8;
    spec.hidden_size = 64;
    spec.intermediate_size = 96;
    ModelChunkOptions options = testing::whole_model(spec, Backend::cpu);
    options.micro_batch = {.num_sequences = 1, .seq_len = 16};
    options.range = {.begin = 1, .end = 1 + num_layers, .embedding = false, .head = false};
    options.split = split;
    options.recompute = recompute;
    return plan_memory(options);
}

BOOST_AUTO_TEST_CASE(delayed_weight_gradients_cost_no_memory)
{
    for (const Arrangement arrangement :
         {Arrangement::pre, Arrangement::post, Arrangement::sandwich, Arrangement::deepnorm,
          Arrangement::lns}) {
        const auto fused = inner_memory(arrangement, 3, BackwardSplit::fused, Recompute::none);
        const auto split = inner_memory(arrangement, 3, BackwardSplit::split, Recompute::none);
        BOOST_CHECK_EQUAL(split.slot_bytes, fused.slot_bytes);
        BOOST_CHECK_EQUAL(split.scratch_bytes, fused.scratch_bytes);
        BOOST_CHECK_EQUAL(split.gradient_slot_bytes, 4 * 16 * 2 * 64u); // what is exchanged
        BOOST_CHECK_EQUAL(fused.gradient_slot_bytes, 4 * 16 * 2 * 64u);
    }
}

BOOST_AUTO_TEST_CASE(recomputation_costs_scratch_for_one_layer_or_gradient_slots_for_all)
{
    const auto memory = [](std::int64_t num_layers, BackwardSplit split, Recompute recompute) {
        return inner_memory(Arrangement::pre, num_layers, split, recompute);
    };
    const std::size_t per_number = 4 * 16, c = 64, f = 96, h = 2;
    for (const BackwardSplit split : {BackwardSplit::fused, BackwardSplit::split}) {
        const ChunkMemory none = memory(3, split, Recompute::none);
        const ChunkMemory lean = memory(3, split, Recompute::lean);
        const ChunkMemory full = memory(3, split, Recompute::full);
        BOOST_CHECK_EQUAL(none.slot_bytes - lean.slot_bytes, per_number * 3 * (2 * c + f));
        BOOST_CHECK_EQUAL(full.slot_bytes, per_number * 4 * c);
        BOOST_CHECK_EQUAL(lean.scratch_bytes - none.scratch_bytes, per_number * (2 * c + f));
        BOOST_CHECK_EQUAL(full.scratch_bytes - none.scratch_bytes,
                          per_number * (7 * c + 3 * f + h + 2));
        BOOST_CHECK_EQUAL(memory(4, split, Recompute::full).scratch_bytes, full.scratch_bytes);
        const std::size_t layers = split == BackwardSplit::split ? 3 : 0;
        BOOST_CHECK_EQUAL(lean.gradient_slot_bytes, per_number * (2 * c + layers * (2 * c + f)));
        BOOST_CHECK_EQUAL(full.gradient_slot_bytes,
                          per_number * (2 * c + layers * (7 * c + 3 * f)));
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
