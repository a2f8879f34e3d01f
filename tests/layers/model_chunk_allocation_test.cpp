// Nothing inside an update allocates: counts calls of operator new.
#include "tests/layers/layer_fixture.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<long> num_allocations{0};

void* counted(std::size_t bytes)
{
    ++num_allocations;
    if (void* const memory = std::malloc(bytes ? bytes : 1))
        return memory;
    throw std::bad_alloc();
}
} // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace sluice {
namespace {

long allocations_of_one_micro_batch(ModelChunk& chunk)
{
    const auto& alphas = testing::mixed_gates;
    std::vector<double> rms(4);
    const long before = num_allocations;
    chunk.forward(0, alphas);
    chunk.evaluate(0);
    if (chunk.options().split == BackwardSplit::split) {
        chunk.backward_input(0, 0, alphas, 0.1);
        chunk.backward_weight(0, 0, alphas);
    } else {
        chunk.backward(0, 0, alphas, 0.1);
    }
    chunk.activation_norms(rms);
    chunk.zero_gradients();
    return num_allocations - before;
}

BOOST_AUTO_TEST_SUITE(model_chunk_allocation, *boost::unit_test::fixture<testing::OneThread>())

BOOST_AUTO_TEST_CASE(the_counter_counts)
{
    const long before = num_allocations;
    const std::vector<double> memory(1000);
    BOOST_CHECK_GT(num_allocations, before);
}

BOOST_AUTO_TEST_CASE(an_update_allocates_nothing)
{
    for (const testing::Variant& variant : testing::all_variants)
        for (const Precision& precision : testing::all_precisions)
            for (const BackwardSplit split : {BackwardSplit::fused, BackwardSplit::split})
                for (const Recompute recompute :
                     {Recompute::none, Recompute::lean, Recompute::full}) {
                    // Wide ones, whose weights take long to draw, where a layer's kinds meet.
                    const bool wide =
                        precision != fp64_precision && variant.arrangement == Arrangement::sandwich;
                    const ModelSpec spec =
                        wide ? testing::wide_model(variant) : testing::small_model(variant);
                    ModelChunkOptions options = testing::whole_model(spec, precision);
                    options.split = split;
                    options.recompute = recompute;
                    ModelChunk chunk(options);
                    chunk.set_activation_norms(ActivationNorms::measured);
                    testing::fill_parameters(chunk);
                    testing::fill_micro_batch(chunk, 0, 0);
                    allocations_of_one_micro_batch(
                        chunk); // the matmul library prepares itself once
                    BOOST_CHECK_EQUAL(allocations_of_one_micro_batch(chunk), 0);
                }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice
