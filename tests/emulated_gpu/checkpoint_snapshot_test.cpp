// Copies for saves that a GPU makes beside training: of what was there when they were queued,
// whatever is queued behind them.
#include "src/train/checkpoint_snapshot.hpp"

#include "core/bfloat16.hpp"
#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "layers/kernels/elementwise.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "src/train/state_gather.hpp"
#include "tests/src/config/run_text_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <memory>
#include <thread>
#include <vector>

using namespace sluice;

namespace {

/// A stage of a whole small model on an emulated GPU; every number of its state differs.
struct StageOnGpu {
    explicit StageOnGpu(const Precision& precision)
        : transport(make_in_process_transport()), replicas(*transport, 1),
          compute(Stream{.backend = Backend::cuda, .device = use_gpu(0)}),
          program(with_communication(make_1f1b(1, 1))), report(check_schedule(program)),
          stage(StageOptions{.model = {.vocab_size = 30,
                                       .hidden_size = 8,
                                       .intermediate_size = 12,
                                       .num_layers = 2,
                                       .num_heads = 2,
                                       .max_seq_len = 4},
                             .micro_batch = {1, 4},
                             .stream = compute.stream(),
                             .warmup = WarmupSchedule::linear,
                             .warmup_steps = 2,
                             .precision = precision,
                             .snapshot = true},
                program, report.slots, {{.begin = 0, .end = 2, .embedding = true, .head = true}}),
          states(stage, replicas)
    {
        for (std::size_t array = 0; array < states.num_arrays(); ++array) {
            const TensorView tensor = states.view(array);
            const HostCopy host(compute.stream(), tensor, HostCopy::Begin::empty);
            for (std::int64_t i = 0; i < tensor.num_elements(); ++i)
                if (tensor.dtype == DType::bf16)
                    host.view().as<BFloat16>()[i] = bfloat16_of(number(array, i));
                else
                    host.view().as<float>()[i] = number(array, i);
            host.write_back();
        }
    }
    /// Exact in bf16.
    static float number(std::size_t array, std::int64_t i)
    {
        return static_cast<float>((array * 7 + static_cast<std::size_t>(i)) % 128 + 1);
    }
    /// What an optimizer would do: queued, not done.
    void queue_changes()
    {
        for (std::size_t array = 0; array < states.num_arrays(); ++array)
            kernels::launch(
                compute.stream(),
                kernels::Scale{.x = states.view(array), .y = states.view(array), .factor = 2.0});
    }
    std::int64_t num_wrong(const StageContents& contents, float factor) const
    {
        std::int64_t wrong = 0;
        for (std::size_t array = 0; array < contents.arrays.size(); ++array) {
            const NamedArray& each = contents.arrays[array];
            if (each.fetch)
                each.fetch();
            for (std::int64_t i = 0; i < each.view.num_elements(); ++i)
                wrong += each.view.as<float>()[i] != factor * number(array, i);
        }
        return wrong;
    }

    std::unique_ptr<Transport> transport;
    Replicas replicas;
    ComputeStream compute;
    Schedule program;
    ScheduleReport report;
    Stage stage;
    StateGather states;
};

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_snapshot)

BOOST_AUTO_TEST_CASE(changes_queued_behind_it_are_not_in_it)
{
    const RunConfig config = small();
    for (const Precision& precision : {fp32_precision, bf16_precision, pure_bf16_precision}) {
        StageOnGpu run(precision);
        CheckpointSnapshot snapshot(run.stage, run.replicas);
        float expected = 1.0F;
        for (std::int64_t update = 1; update <= 3; ++update, expected *= 2.0F) {
            snapshot.take({.update = update}, config);
            // Training may be ahead of the copies, behind them, or have left work behind.
            if (update == 3)
                std::thread([&] { snapshot.wait(); }).join();
            snapshot.hold_back_changes();
            run.queue_changes();
            if (update == 1)
                synchronize(run.compute.stream());
            std::thread([&] { snapshot.wait(); }).join();
            BOOST_TEST(snapshot.contents().progress.update == update);
            BOOST_TEST(snapshot.contents().arrays.size() == run.states.num_arrays());
            BOOST_TEST(run.num_wrong(snapshot.contents(), expected) == 0);
        }
        synchronize(run.compute.stream());
        const HostCopy now(run.compute.stream(), run.states.view(1)); // a first moment
        const float last = now.view().dtype == DType::bf16 ? float_of(now.view().as<BFloat16>()[0])
                                                           : now.view().as<float>()[0];
        BOOST_TEST(last == expected * StageOnGpu::number(1, 0));
    }
}

BOOST_AUTO_TEST_SUITE_END()
