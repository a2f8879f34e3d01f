#include "layers/activation_pool.hpp"

#include "tests/layers/layer_fixture.hpp"

namespace sluice {
namespace {

BOOST_AUTO_TEST_SUITE(activation_pool)

BOOST_AUTO_TEST_CASE(sizes_grow_to_the_largest_of_each_kind)
{
    PoolSizes sizes{.num_slots = 3, .num_gradient_slots = 2};
    sizes.fit({.slot_bytes = 128, .gradient_slot_bytes = 64, .scratch_bytes = 640});
    sizes.fit({.slot_bytes = 64, .gradient_slot_bytes = 192, .scratch_bytes = 0});
    BOOST_TEST(sizes.slot_bytes == 128u);
    BOOST_TEST(sizes.gradient_slot_bytes == 192u);
    BOOST_TEST(sizes.scratch_bytes == 640u);
    BOOST_TEST(sizes.total_bytes() == 3 * 128u + 2 * 192u + 640u);
}

BOOST_AUTO_TEST_CASE(slots_and_scratch_lie_apart_and_use_all_the_memory)
{
    const ActivationPool pool({.num_slots = 2,
                               .num_gradient_slots = 2,
                               .slot_bytes = 100, // rounded up to 128
                               .gradient_slot_bytes = 64,
                               .scratch_bytes = 192},
                              Device{});
    BOOST_TEST(pool.sizes().total_bytes() == 2 * 128u + 2 * 64u + 192u);
    std::vector<TensorView> parts;
    for (const auto& [arena, bytes] :
         {std::pair{pool.slot(0), 128}, std::pair{pool.slot(1), 128},
          std::pair{pool.gradient_slot(0), 64}, std::pair{pool.gradient_slot(1), 64},
          std::pair{pool.scratch(), 192}}) {
        Arena of_it = arena.window(0, arena.capacity_bytes());
        parts.push_back(of_it.allocate(DType::i32, {bytes / 4}));
        BOOST_CHECK_THROW(of_it.allocate(DType::i32, {1}), InvariantError);
    }
    for (std::size_t i = 1; i < parts.size(); ++i)
        BOOST_TEST(parts[i].data ==
                   static_cast<const char*>(parts[i - 1].data) + parts[i - 1].num_bytes());
    BOOST_CHECK_THROW(pool.slot(2), InvariantError);
    BOOST_CHECK_THROW(pool.slot(-1), InvariantError);
    BOOST_CHECK_THROW(pool.gradient_slot(2), InvariantError);
}

BOOST_AUTO_TEST_CASE(a_pool_without_slots_is_a_broken_promise)
{
    BOOST_CHECK_THROW(ActivationPool({.num_slots = 0, .slot_bytes = 64}, Device{}), InvariantError);
    const PoolSizes of_nothing{
        .num_gradient_slots = 0, .slot_bytes = 64, .gradient_slot_bytes = 64};
    BOOST_CHECK_THROW(ActivationPool(of_nothing, Device{}), InvariantError);
    // None is enough where nobody trains.
    ModelChunkOptions options = testing::whole_model(testing::small_model({Arrangement::pre}));
    options.num_gradient_slots = 0;
    BOOST_CHECK_THROW(ModelChunk{options}, InvariantError);
    options.passes = Passes::forward_only;
    const ModelChunk chunk(options);
    BOOST_TEST(chunk.pool().sizes().num_gradient_slots == 0);
}

BOOST_AUTO_TEST_CASE(a_chunk_that_does_not_fit_is_refused)
{
    const ModelChunkOptions options =
        testing::whole_model(testing::small_model({Arrangement::pre}));
    for (std::size_t PoolSizes::*size : {&PoolSizes::slot_bytes, &PoolSizes::scratch_bytes}) {
        PoolSizes sizes = own_pool_sizes(options);
        sizes.*size -= arena_alignment_bytes;
        ActivationPool pool(sizes, Device{});
        BOOST_CHECK_THROW(ModelChunk(options, pool), InvariantError);
    }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
