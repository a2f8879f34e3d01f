// After a rehearsal no pass uses a kernel for the first time, whatever the gates become.
#include "pipeline/rehearsal.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "pipeline/schedule/schedule_family.hpp"
#include "tests/emulated_gpu/work_queues.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"
#include "tests/layers/layer_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::testing;

namespace {

constexpr int num_ranks = 3; // the middle one has neither embedding nor head

/// A rank's stage of four layers, two of them in the middle.
struct RankOnGpu {
    RankOnGpu(const Variant& variant, ScheduleFamily family, int rank)
        : program(with_communication(
              make_schedule({.family = family, .num_ranks = num_ranks, .costs = {}}))),
          slots(check_schedule(program).slots),
          stage({.model = small_model(variant),
                 .micro_batch = {.num_sequences = 2, .seq_len = 5},
                 .stream = compute.stream(),
                 .rank = rank,
                 .precision = bf16_precision},
                program, slots,
                {{.begin = 0, .end = 1, .embedding = true},
                 {.begin = 1, .end = 3},
                 {.begin = 3, .end = 4, .head = true}})
    {
    }
    ModelChunk& model() { return *stage.chunks().front().model; }

    ComputeStream compute{Stream{.backend = Backend::cuda, .device = use_gpu(0)}};
    Schedule program;
    SlotTable slots;
    Stage stage;
};

/// All that an update launches. What the numbers are does not matter.
void pass(ModelChunk& model, const std::vector<double>& gates, ActivationNorms norms)
{
    model.zero_gradients();
    model.set_activation_norms(norms);
    model.forward(0, gates);
    if (model.options().range.head)
        model.evaluate(0);
    if (model.options().split == BackwardSplit::split) {
        model.backward_input(0, 0, gates, 0.5);
        model.backward_weight(0, 0, gates);
    } else {
        model.backward(0, 0, gates, 0.5);
    }
    std::vector<double> squares(model.parameters().size());
    model.gradient_squares(squares);
}

/// A message that does not come, while `work` is done.
template <class Work>
void beside_a_message(const Work& work)
{
    const ComputeStream messages(Stream{.backend = Backend::cuda, .device = use_gpu(0)});
    auto& queue = *static_cast<WorkQueue*>(GpuStream::of(messages.stream()).native());
    bool there = false;
    WorkQueues::of_process().add(
        queue, "Receive", [] {}, [&] { return there; });
    work();
    there = true;
    synchronize(messages.stream());
}

} // namespace

BOOST_AUTO_TEST_SUITE(rehearsal)

BOOST_AUTO_TEST_CASE(no_pass_loads_anything_behind_it)
{
    for (const Variant& variant : all_variants)
        for (const ScheduleFamily family : {ScheduleFamily::one_f_one_b, ScheduleFamily::zb_h1})
            for (int rank = 0; rank < num_ranks; ++rank) {
                RankOnGpu tested(variant, family, rank);
                ModelChunk& model = tested.model();
                model.initialize(3);
                WorkQueues::of_process().unload();
                rehearse(tested.stage);
                const std::size_t layers = model.options().range.num_layers();
                beside_a_message([&] {
                    for (const double first : {0.0, 0.5})
                        for (const double others : {0.0, 1.0}) {
                            std::vector<double> gates(layers, others);
                            gates.front() = first;
                            BOOST_CHECK_NO_THROW(pass(model, gates, ActivationNorms::measured));
                            BOOST_CHECK_NO_THROW(pass(model, gates, ActivationNorms::ignored));
                        }
                });
            }
}

BOOST_AUTO_TEST_CASE(without_it_a_pass_is_refused_beside_a_message)
{
    RankOnGpu tested({Arrangement::pre}, ScheduleFamily::one_f_one_b, 0);
    tested.model().initialize(3);
    WorkQueues::of_process().unload();
    beside_a_message([&] {
        BOOST_CHECK_THROW(pass(tested.model(), {1.0}, ActivationNorms::ignored), EmulationError);
    });
}

BOOST_AUTO_TEST_CASE(it_leaves_no_gradients)
{
    RankOnGpu tested({Arrangement::pre}, ScheduleFamily::one_f_one_b, 2);
    tested.model().initialize(3);
    rehearse(tested.stage);
    std::vector<double> squares(tested.model().parameters().size(), -1.0);
    tested.model().gradient_squares(squares);
    BOOST_TEST(squares == std::vector<double>(squares.size(), 0.0),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
